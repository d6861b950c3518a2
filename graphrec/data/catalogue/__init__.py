"""The built-in synthetic catalogue: invented products, pictures, texts and users.

Everything in it is generated, deterministically from a seed, in a few seconds; it says nothing
about real shops or people. It exists to try things out and to test that content is used.

- `traits`: what the items are
- `vocabulary`: families, brands, styles, colours and the sentences that tell them
- `texts`: titles, descriptions and attributes
- `shapes`, `silhouettes`, `patterns`, `pictures`: the pictures
- `behaviour`: users, their tastes and interactions
- `generate`: `make_catalogue`
"""

from graphrec.data.catalogue.generate import contact_sheet, make_catalogue

__all__ = ["contact_sheet", "make_catalogue"]
