import pytest

from kutter.api.jsonpath import JSONPath, JSONPathError, relaxed

PODS = {
    "kind": "List",
    "items": [
        {
            "kind": "Pod",
            "metadata": {"name": "a", "labels": {"app.kubernetes.io/name": "web", "n": "1"}},
            "spec": {"containers": [{"name": "x", "image": "i1"}, {"name": "y", "image": "i2"}]},
            "status": {"phase": "Running", "restarts": 0, "ready": True},
        },
        {
            "kind": "Pod",
            "metadata": {"name": "b", "annotations": {"note": "<hi> & bye"}},
            "spec": {"containers": [{"name": "z", "image": "i1"}]},
            "status": {"phase": "Pending", "restarts": 3, "ready": False},
        },
    ],
    "none": None,
    "empty": [],
    "numbers": [0, 1, 2, 3, 4],
    "ratio": 1.5,
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{.kind}", "List"),
        ("kind is {.kind}!", "kind is List!"),
        ("{$.kind}", "List"),
        ("{@.kind}", "List"),
        ("{.items[0].metadata.name}", "a"),
        ("{.items[-1].metadata.name}", "b"),
        ("{.items[*].metadata.name}", "a b"),
        ("{.items.*.metadata.name}", "a b"),
        ("{.items[*]['metadata.name']}", ""),
        ("{.items[*].metadata['name']}", "a b"),
        ('{.items[*].metadata["name"]}', "a b"),
        ("{.items[*]['metadata', 'status'].name}", "a b"),
        ("{.numbers[1:3]}", "1 2"),
        ("{.numbers[::2]}", "0 2 4"),
        ("{.numbers[-2:]}", "3 4"),
        ("{.numbers[:-1]}", "0 1 2 3"),
        ("{.numbers[0,2]}", "0 2"),
        ("{.numbers[2:2]}", ""),
        ("{.numbers}", "[0,1,2,3,4]"),
        ("{.empty[*]}", ""),
        ("{.none}", "<nil>"),
        ("{.ratio}", "1.5"),
        ("{.items[*].status.ready}", "true false"),
        ("{.items[*].status.restarts}", "0 3"),
        ("{..name}", "a x y b z"),
        ("{.items[*]..image}", "i1 i2 i1"),
        (r"{.items[0].metadata.labels.app\.kubernetes\.io/name}", "web"),
        (r"{.items[0].metadata.labels['app\.kubernetes\.io/name']}", "web"),
        ("{.items[0].metadata.labels['app.kubernetes.io/name']}", "web"),
        ("{.items[1].metadata.annotations}", '{"note":"\\u003chi\\u003e \\u0026 bye"}'),
        ("{.items[0].spec.containers[0]}", '{"image":"i1","name":"x"}'),
        ('{.items[?(@.status.phase=="Running")].metadata.name}', "a"),
        ("{.items[?(@.status.phase!='Running')].metadata.name}", "b"),
        ("{.items[?(@.status.restarts>1)].metadata.name}", "b"),
        ("{.items[?(@.status.restarts<=0)].metadata.name}", "a"),
        ("{.items[?(@.status.ready==true)].metadata.name}", "a"),
        ("{.items[?(@.metadata.labels)].metadata.name}", "a"),
        ('{.items[?(@.metadata.labels.n=="1")].metadata.name}', "a"),
        ('{.items[?(@.metadata.name=="a)]")].metadata.name}', ""),
        ('{.items[*].spec.containers[?(@.image=="i1")].name}', "x z"),
        ('{range .items[*]}{.metadata.name}{"\\n"}{end}', "a\nb\n"),
        ("{range .items[*]}{.metadata.name}={.status.phase};{end}done", "a=Running;b=Pending;done"),
        (
            "{range .items[*]}{.metadata.name}:{range .spec.containers[*]} {.name}{end}\n{end}",
            "a: x y\nb: z\n",
        ),
        ("{range .empty[*]}{.x}{end}after", "after"),
        ("{range .items[*]}{.metadata.name},", "a,b,"),
        ('{"a\\tb"}{1}{-2.5}{true}', "a\tb1-2.5true"),
        ("{.missing.deeper[0]}", ""),
        ("", ""),
    ],
)
def test_renders(template, text):
    assert JSONPath(template).render(PODS) == text


def test_values_are_flat():
    assert JSONPath("{.items[*].status.restarts}").values(PODS) == [0, 3]
    assert JSONPath("{.missing}").values(PODS) == []


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{.kind", "unclosed action"),
        ("{.items[0}", "unterminated array"),
        ("{.items[a]}", "invalid array index a"),
        ("{.items[?(@.x==1}", "unterminated filter"),
        ('{"text}', "unterminated quoted string"),
        ("{end}", "not in range, nothing to end"),
        ("{what}", "unrecognized identifier what"),
        ("{.a...b}", "invalid multiple recursive descent"),
        ("{.items[::0]}", "step must be > 0"),
        ('{.items[?(@.a=~"b")]}', "unrecognized filter operator =~"),
        ("{1.2.3}", "cannot parse number 1.2.3"),
        ("{-}", "cannot parse number -"),
        ("{!}", "unrecognized character in action: U+0021 '!'"),
    ],
)
def test_wrong_templates(template, message):
    with pytest.raises(JSONPathError) as caught:
        JSONPath(template)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{.numbers[7]}", "array index out of bounds: index 7, length 5"),
        ("{.items[0].metadata[0]}", "map[string]interface {} is not array or slice"),
        ("{.kind[?(@.x)]}", "List is not array or slice and cannot be filtered"),
        ('{.items[?(@.status.restarts=="3")]}', "incompatible types for comparison"),
        ("{.items[?(@.status.ready>true)]}", "invalid type for comparison"),
        ('{.items[?(@.spec.containers[*].name=="x")]}', "can only compare one element at a time"),
        ("{.numbers[3:1]}", "starting index 3 is greater than ending index 1"),
    ],
)
def test_templates_that_do_not_fit(template, message):
    with pytest.raises(JSONPathError) as caught:
        JSONPath(template).render(PODS)
    assert str(caught.value) == message


def test_missing_fields_may_be_errors():
    path = JSONPath("{.items[*].nope}", allow_missing=False)
    with pytest.raises(JSONPathError, match="nope is not found"):
        path.render(PODS)
    assert JSONPath("{..image}", allow_missing=False).render(PODS) == "i1 i2 i1"


@pytest.mark.parametrize(
    "text", ["metadata.name", ".metadata.name", "{metadata.name}", "{.metadata.name}"]
)
def test_relaxed(text):
    assert relaxed(text) == "{.metadata.name}"


def test_relaxed_refuses_what_is_no_path():
    with pytest.raises(JSONPathError, match="unexpected path string"):
        relaxed("{a}{b}")
