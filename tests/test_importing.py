"""How rows of keys are read, and what is refused of them. No database here."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keymw import KeyKind, ScopeCatalog
from keymw.import_checks import check_rows
from keymw.importing import (
    MAX_LINE,
    Draft,
    Rejection,
    Row,
    read_csv,
    read_jsonl,
)
from keymw.tokens import digest, generate

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HEX = digest(generate("phs_").encode()).hex()
HEADER = "kind,project,user,label,digest,scopes,mask,expires_at\n"
GOOD = {
    "kind": "project_secret",
    "project": "2",
    "label": "deploy",
    "digest": f"sha256${HEX}",
    "scopes": ["endpoint:read", "flag:write"],
    "mask": "phs_...wxyz",
    "expires_at": "2030-01-31T12:00:00Z",
}


def csv_rows(text):
    return list(read_csv(io.BytesIO(text.encode() if isinstance(text, str) else text)))


def json_rows(text):
    return list(read_jsonl(io.BytesIO(text.encode() if isinstance(text, str) else text)))


def check(*rows, catalog=None):
    return list(check_rows(rows, NOW, "bea", catalog))


def refused(**changes):
    """Return the column at fault and the reason why a row with some changes is refused."""
    (found,) = check({name: value for name, value in (GOOD | changes).items() if value != "-"})
    assert isinstance(found, Rejection), found
    return found.field, found.reason


# ---- what is read ------------------------------------------------------------------------------


def test_csv_and_json_lines_say_the_same():
    line = f'project_secret,2,,"deploy, ""now""",sha256${HEX},"endpoint:read, flag:write",a...b,'
    (row,) = csv_rows(HEADER + line)
    assert row == Row(2, row.values)
    assert row.values == {
        "kind": "project_secret",
        "project_id": "2",
        "label": 'deploy, "now"',
        "digest": f"sha256${HEX}",
        "scopes": ["endpoint:read", "flag:write"],
        "mask": "a...b",
    }
    assert json_rows(json.dumps(row.values)) == [Row(1, row.values)]


def test_a_good_row_becomes_a_key():
    (draft,) = check(GOOD)
    assert isinstance(draft, Draft)
    key = draft.key
    assert (draft.line, draft.digest.hex()) == (1, HEX)
    assert (key.kind, key.project_id, key.user_id) == (KeyKind.PROJECT_SECRET, "2", None)
    assert (key.label, key.mask, key.scopes) == ("deploy", "phs_...wxyz", set(GOOD["scopes"]))
    assert (key.created_at, key.created_by) == (NOW, "bea")
    assert key.expires_at == datetime(2030, 1, 31, 12, tzinfo=UTC)
    assert HEX not in repr(draft)


def test_what_is_left_out_is_nothing():
    needed = {"kind": "personal", "user_id": "ann", "label": "x", "digest": HEX, "scopes": ["*"]}
    (draft,) = check(needed)
    assert (draft.key.user_id, draft.key.mask, draft.key.expires_at) == ("ann", "", None)
    (same,) = check(needed | {"project": None, "mask": None, "expires_at": None})
    assert (same.key.user_id, same.digest) == ("ann", draft.digest)


def test_a_time_may_be_one():
    (draft,) = check(GOOD | {"expires_at": datetime(2030, 1, 1, tzinfo=UTC)})
    assert draft.key.expires_at == datetime(2030, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("start", ["", "\ufeff", "\n \t\n"])
def test_line_ends_marks_and_blank_lines_do_not_matter(start, end):
    text = start.replace("\n", end) + HEADER.strip() + end * 2 + "personal,,ann,x,d,*,," + end
    (row,) = csv_rows(text)
    assert row.line == text.count("\n")
    assert row.values["scopes"] == ["*"]
    row = json.dumps(GOOD)
    assert json_rows(start.replace("\n", end) + row + end)[0].values == GOOD


# ---- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (b"\xff\xfe,x", "it is not UTF-8."),
        (b"a\0b", "it has a NUL or a carriage return in it."),
        (b"a\rb", "it has a NUL or a carriage return in it."),
        (b"x" * 1_000_000, "it is longer than 65536 bytes."),
        (b"x" * (MAX_LINE - 1), "it has 1 cells, and the header 8."),
        (b'"a"b,,,,,,,', "its quotes do not match."),
        (b"a,b", "it has 2 cells, and the header 8."),
        (b",,,,,,,,", "it has 9 cells, and the header 8."),
    ],
)
def test_a_bad_line_of_csv_spoils_no_other(bad, said):
    found = csv_rows(HEADER.encode() + bad + b"\npersonal,,ann,x,d,*,,\n")
    assert found[0] == Rejection(2, None, said)
    assert [row.line for row in found] == [2, 3]


FINE = "project_secret,1,,inner,d,endpoint:write,,"


@pytest.mark.parametrize(
    "start",
    [
        b'project_secret,2,,"torn',
        b'project_secret,2,,"""torn""',
        b'project_secret,2,,"torn""',
        b'"\xff\xfe',
        b'"\0',
        b'"\r',
        b'"' + b"x" * 200_000,
        b"x" * 200_000 + b'"',
    ],
    ids=range(8),
)
@pytest.mark.parametrize("end", ['",d,a:read,,', '"' + "x" * 200_000, '\0"', '","d",a:read,,'])
def test_what_a_cell_has_in_quotes_is_never_read_as_rows(start, end):
    """A label is what customers write, and could make them a key of another project."""
    fine = FINE.encode()
    lines = [HEADER.strip().encode(), start, fine, b"", b'""', fine, end.encode(), fine, b""]
    found = csv_rows(b"\n".join(lines))
    assert found[0] == Rejection(2, None, "its quotes close in line 7 only: a row is one line.")
    assert [row.line for row in found] == [2, 8]
    assert isinstance(found[1], Row)


def test_what_follows_quotes_that_never_close_is_not_read():
    text = f'{HEADER}{FINE}\npersonal,,ann,"x,d,*,,\n{FINE}\n{FINE}\n'
    (row, torn) = csv_rows(text)
    assert (row.line, torn) == (
        2,
        Rejection(3, None, "its quotes do not close: a row is one line."),
    )


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (b"\xff", "it is not UTF-8."),
        (b"{\0}", "it has a NUL or a carriage return in it."),
        (b'"' + b"x" * 1_000_000 + b'"', "it is longer than 65536 bytes."),
        (b'{"a": 1', "it is no JSON, from character 8 on."),
        (b"[" * 60_000, "it is no JSON that can be read."),
        (b'{"a": NaN}', "it is no JSON that can be read."),
        (b'{"a": ' + b"1" * 5000 + b"}", "it is no JSON that can be read."),
        (b'{"kind": "a", "kind": "b"}', "'kind' stands twice in it."),
        (b"[]", "it is no JSON object."),
        (b'"kind"', "it is no JSON object."),
    ],
)
def test_a_bad_line_of_json_spoils_no_other(bad, said):
    found = json_rows(bad + b"\n{}\n")
    assert found == [Rejection(1, None, said), Row(2, {})]


COLUMNS = "the columns are kind, project or user, label, digest, scopes, mask, expires_at."


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("kind,project,label,digest,scopes,colour", f"there is no column 'colour': {COLUMNS}"),
        ("kind;project;label", f"there is no column 'kind;project;label': {COLUMNS}"),
        ("kind,project", f"it lacks label, digest, scopes: {COLUMNS}"),
        ("kind,project,project_id,label,digest,scopes", "a column stands twice in it."),
        (f"project_secret,{HEX}", f"there is no column 'project_secret': {COLUMNS}"),
        ('"kind', "its quotes do not close: a row is one line."),
        ('"kind\n",project', "its quotes close in line 2 only: a row is one line."),
        ('"kind"s,project', "its quotes do not match."),
    ],
)
def test_a_wrong_header_ends_it(header, said):
    assert csv_rows(header + "\nproject_secret,2\n") == [Rejection(1, None, said)]


def test_a_csv_file_has_a_header():
    (found,) = csv_rows("\n\n")
    assert found.reason.startswith("it is empty: begin with the names of its columns")


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"kind": "secret"}, "kind", "'secret' is not one of project_secret, personal."),
        ({"kind": ["personal"]}, "kind", "give a string, not list."),
        ({"kind": None}, None, "it lacks kind"),
        ({"project": 2}, "project_id", "give a string, not int."),
        ({"project": True}, "project_id", "give a string, not bool."),
        ({"project": "\uff12"}, "project_id", "white space around it and look-alike"),
        ({"project": "-"}, "project_id", "a project_secret key belongs to this"),
        ({"user": "ann"}, "project_id", "a project_secret key belongs to this"),
        ({"kind": "personal"}, "user_id", "a personal key belongs to this"),
        ({"project_id": "2"}, None, "a column stands twice in it."),
        ({"label": "x" * 41}, "label", "give 1 to 40 characters."),
        ({"label": "\u202e"}, "label", "control and invisible characters"),
        ({"label": "\ud800"}, "label", "control and invisible characters"),
        ({"label": ""}, "label", "give 1 to 40 characters."),
        ({"digest": "sha1$" + HEX}, "digest", "write it as sha256$"),
        ({"digest": HEX.upper() + "0"}, "digest", "write it as sha256$"),
        ({"scopes": []}, "scopes", "a key without any would open nothing"),
        ({"scopes": "endpoint:read"}, "scopes", "give a list of scopes"),
        ({"scopes": 7}, "scopes", "give a list of scopes, not int."),
        ({"scopes": [7]}, "scopes", "7 is not a scope"),
        ({"scopes": ["*"]}, "scopes", "a project secret key cannot hold '*'"),
        ({"mask": "x" * 65}, "mask", "give up to 64 printable"),
        ({"mask": "\n"}, "mask", "give up to 64 printable"),
        ({"scopes": {"endpoint:read": True}}, "scopes", "give a list of scopes."),
        ({"mask": "x" * 32}, "mask", "it shows too much of the secret"),
        ({"expires_at": "soon"}, "expires_at", "write it as 2030-01-31T12:00:00Z."),
        ({"expires_at": 7}, "expires_at", "write it as 2030-01-31T12:00:00Z."),
        ({"expires_at": "2030-01-31T12:00:00"}, "expires_at", "give a time with its time zone."),
        ({"owner": "ann"}, None, "there is no column 'owner'"),
        ({"label": "-", "scopes": "-"}, None, "it lacks label, scopes"),
    ],
)
def test_a_row_that_cannot_be_a_key(changes, field, said):
    found, reason = refused(**changes)
    assert (found, reason[: len(said)]) == (field, said)


@pytest.mark.parametrize("column", ["mask", "label", "project"])
@pytest.mark.parametrize(
    "text", ["it-se.lf_9", "(it-se.lf_9)", "secret: it-se.lf_9", "x it-se.lf_9 y"]
)
def test_the_secret_itself_is_not_stored(column, text):
    field, reason = refused(**{"digest": digest(b"it-se.lf_9").hex(), column: text})
    assert field == ("project_id" if column == "project" else column)
    assert reason == "it holds the secret itself, which must not be stored."
    changes = {"kind": "personal", "project": None, "user": text}
    field, _ = refused(digest=digest(b"it-se.lf_9").hex(), **changes)
    assert field == "user_id"


def test_a_catalog_holds():
    catalog = ScopeCatalog({"endpoint": ["read"]}, project_secret=["endpoint:read"])
    (found,) = check(GOOD, catalog=catalog)
    assert (found.field, found.reason) == ("scopes", "'flag:write' is not in the catalog.")


@pytest.mark.parametrize("column", ["kind", "project", "label", "digest", "scopes", "expires_at"])
def test_no_reason_repeats_a_secret(column):
    token = generate("phs_")
    for value in (token, HEX):
        _, reason = refused(**{column: [value] if column == "scopes" else value * 9})
        assert value[5:] not in reason
        assert len(reason) <= 300
        _, reason = refused(**{value: "x"})
        assert value[5:] not in reason


@pytest.mark.parametrize("column", ["kind", "scopes", "unknown"])
def test_no_reason_repeats_a_secret_of_another_form(column):
    for token in ("old-0123_abcd.wxyz", "QmFzZTY0+secret/9==", "a" * 15 + "1", "x" * 32):
        changes = {token: "x"} if column == "unknown" else {column: token}
        if column == "scopes":
            changes = {"scopes": [token]}
        _, reason = refused(**changes)
        assert "***" in reason
        assert token not in reason


def test_long_names_are_told():
    assert (
        "'feature_flag_definition:delete' is not a scope"
        in refused(scopes=["feature_flag_definition:delete"])[1]
    )


def test_rows_are_mappings():
    with pytest.raises(TypeError, match=r"^rows: give mappings, not str"):
        check("kind")


def test_rejections_pass_through():
    torn = Rejection(7, None, "torn")
    assert check(torn, Row(9, {}))[0] is torn
    assert check(torn, Row(9, {}))[1].line == 9


# ---- anything at all ---------------------------------------------------------------------------


@given(st.binary(max_size=300))
def test_no_bytes_raise(junk):
    for rows in (csv_rows(junk), json_rows(junk), csv_rows(HEADER.encode() + junk)):
        for found in check(*rows):
            assert isinstance(found, (Draft, Rejection))
            assert found.line >= 1


_VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.text(), max_size=3)
)


@given(st.dictionaries(st.sampled_from([*GOOD, "user", "other"]), _VALUES))
def test_no_values_raise(changes):
    (found,) = check(GOOD | changes)
    assert isinstance(found, (Draft, Rejection))


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0\r\n"), min_size=1))
def test_csv_gives_back_what_a_cell_holds(label):
    quoted = '"' + label.replace('"', '""') + '"'
    (row,) = csv_rows(f"{HEADER}personal,,ann,{quoted},d,*,,\n")
    assert row.values["label"] == label
