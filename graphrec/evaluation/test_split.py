"""The only door to the test split; each opening is recorded."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from graphrec.evaluation.held_out import HeldOut, SplitData
from modalities._base.files import read_manifest, write_json

FORMAT = "graphrec.test_access"
VERSION = 1


def open_test(
    dataset: SplitData, record: Path | None, *, reason: str, config: str | None = None
) -> HeldOut:
    """The users with test interactions, and their items, after noting that they were looked at.

    Nothing else in the package selects test interactions. The entry is on disk before the
    interactions are returned.

    Args:
        dataset: the data.
        record: the file to add an entry to (counter, UTC time, data_id, split_id, config, reason,
            number of users), made where absent; None keeps no record, for use outside runs.
        reason: why the test split is opened.
        config: identity of the configuration that is measured (`Experiment.config_id`).

    Raises:
        InputError: `record` exists and is not such a file.
    """
    held_out = HeldOut.where("test", dataset, dataset.split.labels == 2)
    if record is not None:
        openings = openings_of(record)
        entry = {
            "counter": len(openings) + 1,
            "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "data_id": dataset.data_id,
            "split_id": dataset.split_id,
            "config": config,
            "reason": reason,
            "n_users": len(held_out.users),
        }
        write_json(record, {"format": FORMAT, "version": VERSION, "openings": [*openings, entry]})
    return held_out


def openings_of(record: Path) -> list[dict[str, Any]]:
    """The entries of `record`, oldest first; none where the file is absent.

    Those of early releases have no `config`.
    """
    if not record.exists():
        return []
    openings: list[dict[str, Any]] = read_manifest(record, FORMAT, VERSION)["openings"]
    return openings
