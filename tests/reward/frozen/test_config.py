import pytest

from synpref_dagster.reward.frozen.config import FrozenConfig


def test_every_layer_pooling_and_penalty_is_tried():
    config = FrozenConfig(layers=(2, 3), poolings=("last", "both"), penalties=(1.0, 0.1))
    assert [(c.layer, c.pooling, c.penalty) for c in config.choices()] == [
        (2, "last", 1.0), (2, "last", 0.1), (2, "both", 1.0), (2, "both", 0.1),
        (3, "last", 1.0), (3, "last", 0.1), (3, "both", 1.0), (3, "both", 0.1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("layers", (), "name at least one"),
        ("layers", (2, 2), "each once"),
        ("poolings", (), "name at least one"),
        ("penalties", (1.0, 0.0), "must be positive"),
        ("dtype", "float16", "must be float32 or bfloat16"),
    ],
)
def test_what_cannot_be_chosen_from_is_refused(field, value, said):
    with pytest.raises(ValueError, match=said):
        FrozenConfig(**{field: value})


def test_layers_are_known_once_the_backbone_is():
    with pytest.raises(ValueError, match="prepare the backbone first"):
        FrozenConfig().choices()
