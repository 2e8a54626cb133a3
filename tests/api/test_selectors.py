import pytest
from lightkube.models.meta_v1 import LabelSelector, LabelSelectorRequirement

from api import selectors

LABELS = {"app": "web", "tier": "front", "generation": "7"}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("app=web", True),
        ("app==web,tier=front", True),
        ("app=db", False),
        ("app!=db", True),
        ("missing!=x", True),
        ("app in (web, db)", True),
        ("app notin (web)", False),
        ("missing notin (web)", True),
        ("app", True),
        ("!app", False),
        ("! missing", True),
        ("generation>5", True),
        ("generation<5", False),
        ("tier>5", False),
        ("app in (web,db),tier", True),
    ],
)
def test_label_selector_text(text: str, matches: bool) -> None:
    assert selectors.parse_label_selector(text).matches(LABELS) is matches


@pytest.mark.parametrize("text", ["app=web=x", "a in b", "-bad=x", "app=b@d", ",", "app in (x", "a b"])
def test_bad_label_selectors(text: str) -> None:
    with pytest.raises(selectors.SelectorError):
        selectors.parse_label_selector(text)


@pytest.mark.parametrize("text", ["app=web", "app!=web", "a in (b,c)", "a notin (b,c)", "a", "!a", "a>3"])
def test_text_survives_a_round_trip(text: str) -> None:
    assert str(selectors.parse_label_selector(text)) == text


def test_selector_objects() -> None:
    expression = LabelSelectorRequirement(key="tier", operator="In", values=["front", "back"])
    selector = selectors.from_label_selector(LabelSelector(matchLabels={"app": "web"}, matchExpressions=[expression]))
    assert selector.matches(LABELS)
    assert not selector.matches({"app": "web"})
    assert selectors.from_label_selector(LabelSelector()).matches({})


@pytest.mark.parametrize(
    "expression",
    [
        LabelSelectorRequirement(key="a", operator="In"),
        LabelSelectorRequirement(key="a", operator="Exists", values=["x"]),
        LabelSelectorRequirement(key="a", operator="Like", values=["x"]),
    ],
)
def test_bad_expressions(expression: LabelSelectorRequirement) -> None:
    with pytest.raises(selectors.SelectorError):
        selectors.from_label_selector(LabelSelector(matchExpressions=[expression]))


def test_field_selectors() -> None:
    selector = selectors.parse_field_selector("spec.nodeName=node-1,status.phase!=Failed")
    assert selector.matches({"spec.nodeName": "node-1", "status.phase": "Running"})
    assert not selector.matches({"spec.nodeName": "node-1", "status.phase": "Failed"})
    assert selector.exact("spec.nodeName") == "node-1"
    assert selector.paths == {"spec.nodeName", "status.phase"}
    with pytest.raises(selectors.SelectorError):
        selectors.parse_field_selector("nonsense")
