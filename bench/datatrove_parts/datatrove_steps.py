"""datatrove's side, in its own virtual environment: its pipeline blocks, documents from memory.

Its index of n-grams is written here with its own tokenizer and hash, for its indexer needs
lighteval for anything; what readers, writers and the executor cost is left out in its favour.
"""

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from datatrove.data import Document
from datatrove.pipeline.decont import NGramsDecontConfig, NGramsDecontFilter
from datatrove.pipeline.dedup import (
    ExactDedupConfig,
    ExactDedupFilter,
    ExactDedupSignature,
    ExactFindDedups,
    MinhashConfig,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupSignature,
)
from datatrove.utils.logging import logger
from datatrove.utils.text import ngrams, simplify_text
from timed_steps import read_lines, run_step

NGRAM_WORDS = 13


def documents(texts: list[str]) -> Iterator[Document]:
    """As a reader gives them."""
    return (Document(text=text, id=str(place)) for place, text in enumerate(texts))


def whole(row: list[str]) -> str:
    """The text of a pair, the responses in order."""
    prompt, *responses = row
    return "\n".join([prompt, *sorted(responses)])


def decontamination(folder: Path) -> Callable[[], Any]:
    """`NGramsDecontFilter` on an index of the same 13-grams."""
    config = NGramsDecontConfig(n_grams=NGRAM_WORDS)
    index = folder / "datatrove_index"
    index.mkdir(exist_ok=True)
    step = NGramsDecontFilter(str(index), config=config)
    grams = {
        step.hash_func(" ".join(gram))
        for prompt in read_lines(folder / "prompts.jsonl")
        for gram in ngrams(
            step.tokenizer.word_tokenize(simplify_text(prompt, config.norm_config)), NGRAM_WORDS
        )
    }
    np.array(sorted(grams), dtype=np.uint64).tofile(index / "b.index.hashes")
    texts = read_lines(folder / "texts.jsonl")
    step.load_index_hashes()

    def search() -> list[int]:
        kept = {int(doc.id) for doc in step.run(documents(texts))}
        return [place for place in range(len(texts)) if place not in kept]

    return search


def exact_duplicates(folder: Path) -> Callable[[], Any]:
    """All three stages of exact deduplication, 64-bit hashes of the whole pair."""
    texts = ["\0".join(row) for row in read_lines(folder / "pairs.jsonl")]

    def content(doc: Document) -> str:
        return doc.text

    def deduplicated() -> list[int]:
        config = ExactDedupConfig(content_getter=content, only_dedup_in_index=False)
        signatures, found = (str(folder / f"datatrove_{name}") for name in ("signed", "found"))
        ExactDedupSignature(signatures, config=config).run(documents(texts))
        ExactFindDedups(signatures, found, config=config).run()
        kept = {int(doc.id) for doc in ExactDedupFilter(found, config).run(documents(texts))}
        return [place for place in range(len(texts)) if place not in kept]

    return deduplicated


def near_duplicates(folder: Path) -> Callable[[], Any]:
    """Signatures, buckets and clusters; the last stage only applies them."""
    texts = [whole(row) for row in read_lines(folder / "near.jsonl")]
    config = MinhashConfig()  # 14 buckets of 8 hashes, 5-grams

    def clustered() -> list[list[int]]:
        signed, met, out = (folder / f"datatrove_{name}" for name in ("minhash", "met", "clusters"))
        MinhashDedupSignature(str(signed), config=config).run(documents(texts))
        for bucket in range(config.num_buckets):
            MinhashDedupBuckets(str(signed), str(met), config=config).run(
                rank=bucket, world_size=config.num_buckets
            )
        MinhashDedupCluster(str(met), str(out), config=config, save_cluster_id=True).run()
        members: dict[int, list[int]] = {}
        for file in out.glob("*.clusters"):
            for place, cluster in struct.iter_unpack("<2I", file.read_bytes()):
                members.setdefault(cluster, []).append(place)
        return sorted(sorted(rows) for rows in members.values())

    return clustered


if __name__ == "__main__":
    logger.remove()
    run_step({step.__name__: step for step in (decontamination, exact_duplicates, near_duplicates)})
