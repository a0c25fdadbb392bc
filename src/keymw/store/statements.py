"""Every SQL statement, built once; `sql.py` only runs them."""

from __future__ import annotations

from sqlalchemy import (
    and_,
    bindparam,
    func,
    insert,
    literal,
    null,
    or_,
    select,
    true,
    union_all,
    update,
)

from keymw.store.schema import UtcTime, counter, events, keys, retired, signing_keys, users

_RECORD = (
    keys.c.id,
    keys.c.kind,
    keys.c.label,
    keys.c.scopes,
    keys.c.version,
    keys.c.project_id,
    keys.c.user_id,
    keys.c.projects,
    keys.c.organizations,
    keys.c.expires_at,
    keys.c.revoked_at,
    users.c.active.label("owner_active"),
    users.c.version.label("owner_version"),
    # In the same statement, hence of the same moment.
    select(counter.c.value).where(counter.c.name == "events").scalar_subquery().label("position"),
)
_owned = keys.outerjoin(users, users.c.id == keys.c.user_id)

#: One round trip for current and retired secrets alike, each by its unique index.
FIND = union_all(
    select(*_RECORD, keys.c.mask, null().cast(UtcTime).label("retired_until"))
    .select_from(_owned)
    .where(keys.c.digest == bindparam("digest")),
    select(*_RECORD, retired.c.mask, retired.c.valid_until)
    .select_from(_owned.join(retired, retired.c.key_id == keys.c.id))
    .where(retired.c.digest == bindparam("digest")),
)

#: A key's row without its digest.
_KEY = [column for column in keys.c if column.name != "digest"]

GET = select(*_KEY).where(keys.c.id == bindparam("key_id"))
LIST = select(*_KEY).order_by(keys.c.created_at, keys.c.id)
#: What comes after a key in that order.
_other = keys.alias()
_made = select(_other.c.created_at).where(_other.c.id == bindparam("after")).scalar_subquery()
LIST_AFTER = LIST.where(
    or_(
        keys.c.created_at > _made,
        and_(keys.c.created_at == _made, keys.c.id > bindparam("after")),
    )
)
#: The secrets that a key had before, the newest first.
RETIRED = (
    select(retired.c.mask, retired.c.valid_until, retired.c.last_used_at)
    .where(retired.c.key_id == bindparam("key_id"))
    .order_by(retired.c.seq.desc().nulls_last(), retired.c.valid_until.desc(), retired.c.mask)
)
_live = (
    keys.c.revoked_at.is_(None),
    or_(keys.c.expires_at.is_(None), keys.c.expires_at > bindparam("now", type_=UtcTime)),
)
PROJECT_SIZE = (
    select(func.count()).select_from(keys).where(keys.c.project_id == bindparam("owner"), *_live)
)
USER_SIZE = (
    select(func.count()).select_from(keys).where(keys.c.user_id == bindparam("owner"), *_live)
)
#: Project keys that outlive the access of the user who made them.
CREATED_BY = LIST.where(
    keys.c.created_by == bindparam("user_id"), keys.c.project_id.is_not(None), *_live
)
DIGEST = select(keys.c.digest).where(keys.c.id == bindparam("key_id"))
RETIRED_DIGESTS = select(retired.c.digest).where(retired.c.key_id == bindparam("key_id"))
DIGEST_KNOWN = union_all(
    select(literal(1)).where(keys.c.digest == bindparam("digest")),
    select(literal(1)).where(retired.c.digest == bindparam("digest")),
)
LABEL_TAKEN = select(keys.c.id).where(
    keys.c.project_id == bindparam("project_id"),
    keys.c.label == bindparam("label"),
    keys.c.revoked_at.is_(None),
    keys.c.id != bindparam("key_id"),
)
INSERT_KEY = insert(keys)
UPDATE_KEY = update(keys).where(keys.c.id == bindparam("key_id"))
INSERT_RETIRED = insert(retired)

#: Locks the counter until the commit, which puts all changes in one line: events are numbered in
#: the order of their commits, and what a change has checked still holds when it commits.
NEXT_SEQ = (
    update(counter)
    .where(counter.c.name == "events")
    .values(value=counter.c.value + 1)
    .returning(counter.c.value)
)
POSITION = select(counter.c.value).where(counter.c.name == "events")
INSERT_EVENT = insert(events)
HISTORY = (
    select(events, retired.c.last_used_at.label("old_secret_last_used_at"))
    .select_from(events.outerjoin(retired, retired.c.seq == events.c.seq))
    .order_by(events.c.seq.desc())
    .limit(bindparam("limit"))
)
_newest = (
    select(events.c.seq, events.c.entity, events.c.version)
    .where(events.c.seq > bindparam("after"))
    .order_by(events.c.seq.desc())
    .limit(bindparam("limit"))
    .subquery()
)
#: At least one row, which says how far the events go.
FEED = (
    select(counter.c.value.label("position"), _newest)
    .select_from(counter.outerjoin(_newest, true()))
    .where(counter.c.name == "events")
    .order_by(_newest.c.seq)
)

GET_USER = select(users.c.active, users.c.version).where(users.c.id == bindparam("user_id"))
INSERT_USER = insert(users)
UPDATE_USER = update(users).where(users.c.id == bindparam("user_id"))
USER_DIGESTS = union_all(
    select(keys.c.digest).where(keys.c.user_id == bindparam("user_id")),
    select(retired.c.digest)
    .select_from(retired.join(keys, keys.c.id == retired.c.key_id))
    .where(keys.c.user_id == bindparam("user_id")),
)
SIGNING_KEYS = select(signing_keys.c.secret).order_by(signing_keys.c.id)

# Uses are noted past the counter, for they are no changes. Rows are taken only if nobody else has
# them, so two processes that do so never wait for one another, nor for a change.
IDLE_KEYS = (
    select(keys.c.id)
    .where(keys.c.id.in_(bindparam("ids", expanding=True)))
    .order_by(keys.c.id)
    .with_for_update(skip_locked=True, key_share=True)
)
KNOWN_KEYS = select(keys.c.id).where(keys.c.id.in_(bindparam("ids", expanding=True)))
IDLE_RETIRED = (
    select(retired.c.digest)
    .where(
        retired.c.digest.in_(bindparam("digests", expanding=True)),
        # Whoever holds the key's row is the only one who takes those of its old secrets.
        retired.c.key_id.in_(bindparam("ids", expanding=True)),
    )
    .order_by(retired.c.digest)
    .with_for_update(skip_locked=True, key_share=True)
)
TOUCH_KEY = (
    update(keys)
    .where(
        keys.c.id == bindparam("used"),
        or_(keys.c.last_used_at.is_(None), keys.c.last_used_at < bindparam("at", type_=UtcTime)),
    )
    .values(last_used_at=bindparam("at", type_=UtcTime))
)
_replaced_at = (
    select(events.c.at).where(events.c.seq == retired.c.seq).correlate(retired).scalar_subquery()
)
TOUCH_RETIRED = (
    update(retired)
    .where(
        retired.c.digest == bindparam("used"),
        or_(
            retired.c.last_used_at.is_(None),
            retired.c.last_used_at < bindparam("at", type_=UtcTime),
        ),
        # What it was used for before that is no news, however late one hears of it.
        or_(_replaced_at.is_(None), _replaced_at < bindparam("at", type_=UtcTime)),
    )
    .values(last_used_at=bindparam("at", type_=UtcTime))
)
