"""synpref_dagster: from messy preference data to reward models that can be trusted.

1. pool        read every source, clean it, decontaminate it (paper App. D.1)
2. attributes  label each pair with five preference attributes (Sec. 3.2)
3. seed        people verify a gold seed, judges label a silver seed (Sec. 3.2)
4. iterate     train a reward model, retrieve around its errors, label, repeat (Sec. 3.2)
5. filter      keep, flip or discard each remaining pair by consistency (Sec. 3.3)
6. release     train the eight Skywork-Reward-V2 sizes and score seven benchmarks (Sec. 4)
7. evidence    measure the method's claims on this very campaign
   `assets/` is this figure; `curation/`, `reward/` and `benchmarks/` hold the method.
"""

__version__ = "0.1.0"
