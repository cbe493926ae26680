"""Box 1, cleaning: structure, duplicates, contradictions, cycles, routing (Appendix D.1).

What box 1 does, in order. Modules are below `synpref_dagster`, or below `curation` where they
begin with `pool`, `contamination` or `personal_data`.

    read    each source file once; rows that are no pairs go to quarantine with a reason
            sources.shards.read_file, mapped by resources.sources.PoolSources.read_pool
    screen  each pair by itself, shard by shard: pool.shards.screen_pool
            1. structure, and the keys of both responses: pool.screening.screen_structure
               (pool.cleaning.check_structure, pool.cycles.with_response_keys)
            2. what the first user turn shares with each benchmark; reads only shards in which
               that benchmark was not looked for: contamination.shards.look_for_benchmarks
               (contamination.rules.build_index, contamination.hits.find_hits)
            3. both together, one reason per pair: pool.screening.screen_contamination
    revise  the screening, only where the profile asks for it
            4. judges look at the hits: assets.pool.recheck.rechecked_hits
               (contamination.recheck.suspicions, judges.questions.opinions, and the outcome
               by contamination.recheck.recheck)
            5. cleared hits come back, pairs of the personal-data report go:
               pool.shards.revise_screening (contamination.recheck.with_cleared,
               personal_data.report.pairs_to_drop, pool.selection.with_personal_data)
    mark    what pairs say about each other, one conversation at a time, out of core
            6. first copies, contradictions, preference cycles: pool.key_index.mark_pool
               (pool.marks.marks_of, which asks pool.cleaning.first_copies,
               pool.cleaning.contradicted_rows and pool.cycles.cycle_sizes)
    select  kept, or dropped with the first reason of: structure, duplicate, contamination or
            personal data; contradictions and cycles stay and are marked as a risk
            7. pool.selection.select_clean, which needs a shard and its marks only
    check   look at every clean pair again, with evidence of its own; a hit blocks
            8. contamination.shards.look_for_benchmarks, contamination.shards.contaminated_pairs
    bar     pairs that could become gold are held to shorter n-grams in all of their texts
            9. contamination.strict_shards.look_strictly (contamination.strict.overlaps_of),
               then contamination.strict.barred_pairs
    route   pairs with a human label and some risky ones to stage 1, unless barred; the others,
            barred ones too, to stage 2
            10. pool.routing_shards.route_pairs, pool.routing.pool_of_stage

Reading is `assets/pool/raw.py`; steps 1 to 7 are `_clean` in `assets/pool/clean.py`, step 8 is
`zero_contamination` beside it, step 9 `assets/pool/strict_overlaps.py`, step 10
`assets/pool/stages.py`.

What does not belong here: reading sources (`sources/`), the rules of decontamination
(`curation/contamination/`) and of personal data (`curation/personal_data/`). What is reported
is said in `assets/pool/`.
"""
