"""The public ways to make keys, written once for blocking and asynchronous services."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keymw import flows
from keymw.drafts import check_shown, imported_key, new_key
from keymw.inputs import check_actor
from keymw.principals import KeyKind
from keymw.queries import Queries
from keymw.tokens import parse_digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from keymw.importing import ImportReport, Rejection, Row
    from keymw.inputs import Id
    from keymw.model import IssuedKey, Key


class Issuing(Queries):
    """Makes keys, or takes over those that were made elsewhere."""

    async def issue_project_key(
        self,
        project_id: Id,
        label: str,
        scopes: Iterable[str],
        *,
        expires_at: datetime | None = None,
        actor: str | None = None,
    ) -> IssuedKey:
        """Make a project secret key, which belongs to the project and outlives whoever made it.

        Args:
            project_id: compared as a string, exactly.
            label: 1 to 40 printable characters, unique among the project's live keys.
            scopes: `object:read` or `object:write`, one at least.
            expires_at: aware time from which the key is refused; None is never.
            actor: who makes it, for the activity log and as `created_by`.

        Returns:
            The key's row and its token, which is shown this once.

        Raises:
            InvalidInput: an argument is refused (`LabelTaken` for the label, `KeyLimitReached` for
                one key too many); nothing is stored.
            StoreUnavailable: the database cannot answer.
        """
        now = self._clock.now()
        key = new_key(now, KeyKind.PROJECT_SECRET, label, expires_at, actor, project_id=project_id)
        return await self._lasting(flows.issue(self._deps(), key, scopes, key.created_by))

    async def issue_personal_key(
        self,
        user_id: Id,
        label: str,
        scopes: Iterable[str],
        *,
        projects: Iterable[Id] | None = None,
        organizations: Iterable[Id] | None = None,
        expires_at: datetime | None = None,
        actor: str | None = None,
    ) -> IssuedKey:
        """Make a personal key, which ends with its user's access.

        Args:
            user_id: whose key it is.
            label: 1 to 40 printable characters.
            scopes: `object:read`, `object:write`, or `*` for everything.
            projects: ids of projects that the key is limited to; None is no limit.
            organizations: ids of organizations that the key is limited to; None is no limit.
            expires_at: aware time from which the key is refused; None is never.
            actor: who makes it, for the activity log and as `created_by`.

        Raises:
            InvalidInput: an argument is refused (`KeyLimitReached` for one key too many); nothing
                is stored.
            StoreUnavailable: the database cannot answer.
        """
        key = new_key(
            self._clock.now(),
            KeyKind.PERSONAL,
            label,
            expires_at,
            actor,
            user_id=user_id,
            projects=projects,
            organizations=organizations,
        )
        return await self._lasting(flows.issue(self._deps(), key, scopes, key.created_by))

    async def import_key(
        self,
        kind: KeyKind | str,
        digest: str,
        label: str,
        scopes: Iterable[str],
        *,
        project_id: Id | None = None,
        user_id: Id | None = None,
        mask: str = "",
        expires_at: datetime | None = None,
        actor: str | None = None,
    ) -> Key:
        """Store a key whose secret was made elsewhere and is known by its digest only.

        Tokens without keymw's length and checksum are refused unread unless
        `Settings.accept_unchecksummed` names the kind. The limits of keys do not hold: these are
        keys that people have already.

        Args:
            kind: whom the key belongs to.
            digest: `sha256$<hex>` or plain hex of SHA-256 of the whole token.
            label: as in `issue_project_key`.
            scopes: as in `issue_project_key`.
            project_id: for a project secret key.
            user_id: for a personal key.
            mask: what people may see of the token; up to 64 characters.
            expires_at: as in `issue_project_key`.
            actor: as in `issue_project_key`.

        Raises:
            InvalidInput: an argument is refused (`DigestTaken` for a secret that is known).
            StoreUnavailable: the database cannot answer.
        """
        key = imported_key(
            self._clock.now(),
            kind,
            label,
            expires_at,
            actor,
            project_id=project_id,
            user_id=user_id,
            mask=mask,
        )
        known = parse_digest(digest)
        check_shown(key, known)
        change = flows.adopt(self._deps(), key, known, scopes, key.created_by)
        return await self._lasting(change)

    async def import_keys(
        self,
        rows: Iterable[Row | Rejection | Mapping[str, object]],
        *,
        partial: bool = False,
        dry_run: bool = False,
        actor: str | None = None,
    ) -> ImportReport:
        """Store many keys whose secrets were made elsewhere, in one transaction and little memory.

        By default all of them or none. A key that is there already stays as it is, revoked too, so
        an import may be repeated. The limits of keys do not hold.

        For scripts: of an asynchronous service it may keep the event loop waiting.

        Args:
            rows: mappings with `kind`, `project_id` or `user_id`, `label`, `digest`, `scopes`, and
                if wanted `mask` and `expires_at` (ISO 8601, or a datetime), as in `import_key`; or
                what `keymw.importing.read_csv` or `read_jsonl` make of a file.
            partial: store the good rows though others are rejected.
            dry_run: store nothing, and say what would be done.
            actor: who does it, for the activity log and as `created_by`.

        Returns:
            How many rows are new, known and rejected, and the first hundred rejections.

        Raises:
            InvalidInput: the actor is refused.
            StoreUnavailable: the database cannot answer. Whether anything was stored is not known
                if that happened at the end: repeat it.
        """
        done = flows.import_keys(
            self._deps(), rows, check_actor(actor), partial=partial, dry_run=dry_run
        )
        return await self._lasting(done)
