"""Kubernetes' libraries, by the examples its documentation gives and their edges."""

from __future__ import annotations

import pytest

from kutter.api.cel.errors import CompileError, EvaluationError
from kutter.api.cel.kubernetes import environment, mutation_environment
from kutter.api.cel.library.authorizer import AUTHORIZER, Answer, Authorizer, Question
from kutter.api.cel.types import DYN

ENV = environment({"x": DYN, "authorizer": AUTHORIZER})

TRUE = """
[1, 2, 2, 3].isSorted() && !['b', 'a'].isSorted() && [].isSorted()
[1, 2, 3].sum() == 6 && [duration('1m'), duration('1s')].sum() == duration('61s')
[1.5, 2.5].sum() == 4.0 && [1u, 2u].sum() == 3u
['b', 'a', 'c'].min() == 'a' && ['b', 'a', 'c'].max() == 'c'
[1, 2, 3, 2].indexOf(2) == 1 && [1, 2, 3, 2].lastIndexOf(2) == 3 && [1].indexOf(5) == -1
[3, 1, 2].sort() == [1, 2, 3] && ['b', 'a'].reverse() == ['a', 'b']
[1, 1, 2, 3, 3].distinct() == [1, 2, 3] && [1, 2, 3, 4].slice(1, 3) == [2, 3]
[[1, 2], [3]].flatten() == [1, 2, 3] && [dyn(1), [dyn(2), [3]]].flatten(2) == [1, 2, 3]
lists.range(3) == [0, 1, 2] && dyn([1, 2]).flatten() == [1, 2]
[{'n': 2}, {'n': 1}].sortBy(o, o.n)[0].n == 1
sets.contains([1, 2, 3], [2]) && sets.equivalent([1, 2], [2, 1, 1]) && !sets.intersects([1], [2])
'abc 123'.find('[0-9]+') == '123' && 'abc'.find('[0-9]+') == ''
'1 2 3'.findAll('[0-9]') == ['1', '2', '3'] && '1 2 3'.findAll('[0-9]', 2) == ['1', '2']
'foobar'.matches('^fo+b') && !'foobar'.matches('^bar')
url('https://example.com:80/path?k1=a&k2=b&k2=c').getHost() == 'example.com:80'
url('https://example.com:80/').getHostname() == 'example.com'
url('https://[::1]:80/').getHostname() == '::1' && url('https://[::1]:80/').getPort() == '80'
url('https://example.com/path with spaces/').getEscapedPath() == '/path%20with%20spaces/'
url('https://example.com/?k2=b&k2=c').getQuery()['k2'] == ['b', 'c']
url('/path').getScheme() == '' && isURL('https://a.b/c') && !isURL('../relative')
!isURL('https://a:b:c/') && isURL('mailto:x') && isURL('https:://kubernetes.io/')
isQuantity('1.5Gi') && !isQuantity('1GiB') && quantity('500000G').isInteger()
quantity('50k').asInteger() == 50000 && quantity('9999999999999999999999G').isInteger() == false
quantity('50k').add(quantity('20k')).compareTo(quantity('70k')) == 0
quantity('50k').sub(20000).isLessThan(quantity('31k')) && sign(quantity('-1')) == -1
quantity('1.5').asApproximateFloat() == 1.5 && quantity('1000m') == quantity('1')
isIP('::1') && !isIP('10.0.0.256') && !isIP('::ffff:1.2.3.4') && !isIP('fe80::1%eth0')
ip('127.0.0.1').family() == 4 && ip('::1').isLoopback() && ip('0.0.0.0').isUnspecified()
ip.isCanonical('2001:db8::1') && !ip.isCanonical('2001:DB8::1')
ip('224.0.0.1').isLinkLocalMulticast() && ip('fe80::1').isLinkLocalUnicast()
ip('192.168.0.1').isGlobalUnicast() && !ip('255.255.255.255').isGlobalUnicast()
string(ip('192.168.0.1')) == '192.168.0.1' && ip('::1') == ip('0:0:0:0:0:0:0:1')
cidr('10.0.0.0/8').containsIP('10.1.2.3') && !cidr('10.0.0.0/8').containsIP(ip('11.0.0.1'))
cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16') && !cidr('10.1.0.0/16').containsCIDR('10.0.0.0/8')
cidr('192.168.1.5/24').ip() == ip('192.168.1.5') && cidr('192.168.1.5/24').prefixLength() == 24
cidr('192.168.1.5/24').masked() == cidr('192.168.1.0/24') && isCIDR('::/0') && !isCIDR('10.0.0.0')
string(cidr('192.168.1.5/24')) == '192.168.1.5/24' && !isCIDR('10.0.0.0/033')
!format.dns1123Label().validate('a-b').hasValue() && format.dns1123Label().validate('A').hasValue()
format.named('uuid').hasValue() && !format.named('nothing').hasValue()
!format.uri().validate('https://a.b').hasValue() && format.date().validate('x').value() == ['invalid date']
!format.dns1123LabelPrefix().validate('a-').hasValue()
isSemver('1.2.3-alpha.1+b') && !isSemver('1.2') && isSemver('v1.2', true) && !isSemver('01.2.3')
semver('1.2.3').major() == 1 && semver('1.2.3').minor() == 2 && semver('v01.5', true).patch() == 0
semver('1.2.3').isLessThan(semver('1.10.0')) && semver('1.0.0-rc.1').isLessThan(semver('1.0.0'))
semver('1.0.0-alpha.2').compareTo(semver('1.0.0-alpha.10')) == -1
semver('1.0.0+a') == semver('1.0.0+b')
'a,b,c'.split(',') == ['a', 'b', 'c'] && 'a,b,c'.split(',', 2) == ['a', 'b,c']
['a', 'b'].join('-') == 'a-b' && 'TacoCat'.lowerAscii() == 'tacocat' && ' x '.trim() == 'x'
'%s: %d %.2f %x'.format([dyn('a'), 7, 1.5, 255]) == 'a: 7 1.50 ff'
strings.quote('a"b') == '"a\\\\"b"' && 'hello'.substring(1, 3) == 'el' && 'abc'.charAt(1) == 'b'
'hello'.replace('l', 'L', 1) == 'heLlo'
{'a': 1, 'b': 2}.exists(k, v, k == 'b' && v == 2) && [5, 6].all(i, v, v == i + 5)
{'a': 1}.transformMap(k, v, v + 1) == {'a': 2} && [1, 2].transformList(i, v, i + v) == [1, 3]
{'a': 'b'}.transformMapEntry(k, v, {v: k}) == {'b': 'a'}
optional.of(1).optMap(v, v + 1).value() == 2 && optional.none().orValue(3) == 3
[?optional.none(), 1] == [1] && {?'a': optional.of(2)}.a == 2 && x.?y.hasValue() == false
timestamp('2020-03-01T00:00:00Z').getDayOfWeek('America/New_York') == 6
timestamp('2020-01-01T00:00:00Z') - timestamp('2019-12-31T23:00:00Z') == duration('1h')
int(timestamp('1970-01-01T00:01:00Z')) == 60 && string(duration('1h30m')) == '5400s'
"""


@pytest.mark.parametrize("text", TRUE.strip().splitlines())
def test_true(text: str) -> None:
    assert ENV.compile(text).evaluate({"x": {}}) is True


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[].max() == 1", "max called on empty list"),
        ("quantity('x') == quantity('1')", "quantities must match the regular expression"),
        ("quantity('1.5').asInteger()", "cannot convert value to integer"),
        ("ip('x')", 'IP Address "x" parse error during conversion from string'),
        ("ip('::ffff:1.2.3.4')", 'IPv4-mapped IPv6 address "::ffff:1.2.3.4" is not allowed'),
        ("url('../x')", "URL parse error during conversion from string"),
        ("semver('1.2')", "No Major.Minor.Patch elements found"),
        ("optional.none().value()", "optional.none\\(\\) dereference"),
        ("'abc'.substring(2, 1)", "invalid substring range. start: 2, end: 1"),
        ("'abc'.find(x.p)", "error parsing regexp"),
        ("'%d'.format(['a'])", "decimal clause can only be used on integers"),
        ("authorizer.path(' ')", "path must not be empty"),
        ("authorizer.serviceAccount('default', 'A!')", "Invalid service account name"),
        ("{'a': 1, 'b': 1}.transformMapEntry(k, v, {v: k})", "key 1 already exists"),
        ("lists.range(100000000)", "too long"),
    ],
)
def test_failures(text: str, message: str) -> None:
    program = ENV.compile(text.replace("[].max() == 1", "x.l.max() == 1"))
    bindings = {"x": {"l": [], "p": "("}, "authorizer": Authorizer(lambda q: Answer(allowed=True))}
    with pytest.raises(EvaluationError, match=message):
        program.evaluate(bindings)


def test_what_kubernetes_leaves_out_is_not_there() -> None:
    for text in ("math.greatest(1, 2)", "cel.bind(y, 1, y)", "base64.encode(b'a')"):
        with pytest.raises(CompileError):
            ENV.compile(text)


def test_the_authorizer_asks_what_was_built() -> None:
    asked: list[Question] = []

    def decide(question: Question) -> Answer:
        asked.append(question)
        return Answer(allowed=question.verb == "get", reason="because")

    text = (
        "authorizer.group('apps').resource('deployments').subresource('scale').namespace('a')"
        ".name('b').labelSelector('x=y').check('get').allowed()"
        " && authorizer.serviceAccount('ns', 'sa').path('/healthz').check('post').reason()"
        " == 'because'"
    )
    value, cost = ENV.compile(text).run({"authorizer": Authorizer(decide)})
    assert value is True
    assert asked == [
        Question(
            verb="get",
            group="apps",
            resource="deployments",
            subresource="scale",
            namespace="a",
            name="b",
            label_selector="x=y",
        ),
        Question(verb="post", path="/healthz", service_account=("ns", "sa")),
    ]
    # Two checks fit into one call, three do not.
    assert 700_000 < cost < 1_000_000


def test_objects_and_patches_are_written_out_as_trees() -> None:
    env = mutation_environment({"object": DYN})
    text = (
        "Object{spec: Object.spec{replicas: 3, "
        "containers: [Object.spec.containers{name: 'a', ?image: object.?image}]}}"
    )
    assert env.compile(text).evaluate({"object": {}}) == {
        "spec": {"replicas": 3, "containers": [{"name": "a"}]}
    }
    text = (
        "[JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('a/b~c'), "
        "value: 'x'}]"
    )
    assert env.compile(text).evaluate({"object": {}}) == [
        {"op": "add", "path": "/metadata/labels/a~1b~0c", "value": "x"}
    ]
    with pytest.raises(EvaluationError, match=r'expected "Object[.]spec"'):
        env.compile("Object{spec: Object.status{}}").evaluate({"object": {}})
    with pytest.raises(CompileError, match="undefined field 'ops'"):
        env.compile("JSONPatch{ops: 'add'}")


@pytest.mark.parametrize(
    ("text", "estimate", "cost"),
    [
        ("'ABCDEFGHIJ abcdefghij'.lowerAscii()", (3, 3), 3),
        ("'ABCDEFGHIJ abcdefghij'.lowerAscii() == 'abcdefghij ABCDEFGHIJ'.lowerAscii()", (7, 9), 9),
        ("'abc 123 def 123'.replace('123', '456', 1)", (3, 3), 3),
        ("'abc 123 def 123'.split(' ')", (3, 3), 3),
        ("'abc 123 def 123'.find('123')", (2, 2), 2),
        ("url('https:://kubernetes.io/')", (3, 3), 3),
        ("quantity('123Ki').compareTo(quantity('1G'))", (3, 3), 3),
        # What is constant is made once, before it runs: upstream estimates it and charges nothing.
        ("sets.contains([1, 2], [1])", (23, 23), 3),
        ("lists.range(4) == [0, 1, 2, 3]", (26, 26), 16),
        ("[[1, 2], [3]].flatten() == [1, 2, 3]", (54, 54), 14),
        ("sets.equivalent([1], [1])", (23, 23), 3),
    ],
)
def test_costs_are_upstreams(text: str, estimate: tuple[int, int], cost: int) -> None:
    program = ENV.compile(text)
    found = program.estimated_cost()
    assert (found.least, found.most) == estimate
    assert program.run({})[1] == cost


@pytest.mark.parametrize(
    "text",
    [
        *("int(x)", "uint(x)", "double(x)", "duration(x)", "quantity(x)", "timestamp(x)"),
        *("semver(x + '.1.1')", "duration(x + 'h')", "cidr('10.0.0.0/' + x)", "ip(x)"),
        "'%.99999999999999999999f'.format([1.5])",
    ],
)
def test_numbers_of_any_length_are_errors_and_no_crash(text: str) -> None:
    with pytest.raises(EvaluationError):
        ENV.compile(text).evaluate({"x": "9" * 5000})


@pytest.mark.parametrize("text", ["9" * 5000, "9" * 5000 + "u", "0x" + "f" * 5000, "1e999"])
def test_literals_of_any_length_are_refused(text: str) -> None:
    with pytest.raises(CompileError, match="literal"):
        ENV.compile(text)


def test_long_lists_are_joined_without_a_copy() -> None:
    program = ENV.compile("x.map(y, x + x)[0].size()")
    assert program.evaluate({"x": list(range(3000))}) == 6000
