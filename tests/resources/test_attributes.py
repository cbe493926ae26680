"""What is known about the built-in attribute classifier."""

from synpref_dagster.resources.attributes import AttributeLabelling
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.judges import JudgePanel
from synpref_dagster.settings.profile import load_profile


def test_the_classifier_is_measured_on_prompts_that_it_was_not_trained_on():
    campaign = Campaign(profile_json=load_profile("smoke").model_dump_json(), store_root="unused")
    labelling = AttributeLabelling(judges=JudgePanel(campaign=campaign), num_training_examples=40)
    measured = labelling.measured().set_index("attribute")
    assert list(measured.index) == ["task_category", "objectivity", "controversiality"]
    assert (measured["n"] > 500).all()
    # So few examples teach it less than everything: the number is measured, not assumed.
    assert 0.4 < measured.loc["task_category", "value"] < 1.0
    assert (measured["low"] < measured["value"]).all()
