"""Rankings and metrics.

- `metrics`: recall, ndcg, precision, map, hit_rate, mrr, per user
- `beyond`: coverage, gini, popularity, novelty, diversity
- `significance`: intervals and tests, paired by user
- `held_out`: what was held out, by user
- `evaluate`: a ranker measured on held-out interactions
- `test_split`: the only door to the test split
"""
