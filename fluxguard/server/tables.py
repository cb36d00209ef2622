"""What the platform keeps, table by table. Times are milliseconds since 1970, UTC; ids are text with a speaking prefix."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _moment(name: str, nullable: bool = True) -> Column[int]:
    return Column(name, BigInteger, nullable=nullable)


_LEFT = text("state <> 'deleted'")

workspaces = Table(
    "workspaces",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("name", Text, nullable=False),
    _moment("created_at", False),
)

users = Table(
    "users",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("workspace_id", String(40), ForeignKey("workspaces.id"), nullable=False),
    Column("email", String(320), nullable=False, unique=True),  # lower case
    Column("password", Text, nullable=False),  # argon2id, with its parameters
    Column("role", String(16), nullable=False),  # owner, admin, member, auditor
    _moment("created_at", False),
    _moment("disabled_at"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("token", LargeBinary(32), primary_key=True),  # Vault.token of the cookie
    Column("user_id", String(40), ForeignKey("users.id"), nullable=False),
    Column("csrf", String(64), nullable=False),
    _moment("created_at", False),
    _moment("seen_at", False),
    _moment("expires_at", False),
    Column("address", String(64), nullable=False),
    Column("user_agent", Text, nullable=False),
)

# The vendor's client signs in with a device code and then carries a token of its own.
devices = Table(
    "devices",
    metadata,
    Column("device", LargeBinary(32), primary_key=True),  # Vault.token of the device code
    Column("user_code", String(16), nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("state", String(16), nullable=False),  # pending, approved, denied, used
    Column("user_id", String(40), ForeignKey("users.id")),
    Column("address", String(64), nullable=False),
    _moment("created_at", False),
    _moment("expires_at", False),
)

tokens = Table(
    "tokens",
    metadata,
    Column("access", LargeBinary(32), primary_key=True),
    Column("refresh", LargeBinary(32), nullable=False, unique=True),
    Column("user_id", String(40), ForeignKey("users.id"), nullable=False),
    Column("device", Text, nullable=False),
    _moment("created_at", False),
    _moment("expires_at", False),
    _moment("refresh_expires_at", False),
    _moment("ended_at"),
    Column("device_id", String(40), index=True),  # these three stay the same while tokens are renewed
    _moment("connected_at"),
    Column("address", String(64)),
)

projects = Table(
    "projects",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("workspace_id", String(40), ForeignKey("workspaces.id"), nullable=False),
    Column("name", String(100), nullable=False),
    _moment("created_at", False),
    UniqueConstraint("workspace_id", "name"),
)

scenarios = Table(
    "scenarios",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("project_id", String(40), ForeignKey("projects.id"), nullable=False, index=True),
    Column("name", String(200), nullable=False),
    Column("body", Text, nullable=False),  # JSON
    _moment("created_at", False),
)

runs = Table(
    "runs",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("project_id", String(40), ForeignKey("projects.id"), nullable=False, index=True),
    Column("body", Text, nullable=False),  # JSON, as it was uploaded
    _moment("created_at", False),
)

keys = Table(
    "keys",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("workspace_id", String(40), ForeignKey("workspaces.id"), nullable=False),
    Column("name", String(100), nullable=False),
    Column("description", Text, nullable=False, default=""),
    Column("environment", String(8), nullable=False),
    Column("masked", String(64), nullable=False),
    Column("lookup", LargeBinary(32), nullable=False, unique=True),  # Vault.lookup of the key
    Column("fingerprint", String(68), nullable=False, unique=True),
    Column("seal", LargeBinary(32), nullable=False),
    Column("permissions", Text, nullable=False),  # names, a space between them
    Column("scope", Text, nullable=False),  # "all", or ids of projects, a space between them
    Column("state", String(16), nullable=False),  # pending, active, revoked, regenerated, lapsed, deleted
    Column("hourly_limit", Integer, nullable=False),
    Column("version", Integer, nullable=False, default=1),
    Column("created_by", Text, nullable=False),
    _moment("created_at", False),
    _moment("expires_at"),
    _moment("confirmed_at"),  # first used, or said to be kept
    _moment("pending_until"),  # unconfirmed at this moment, it lapses
    _moment("ends_at"),  # a rotation's deadline for the old key
    _moment("ended_at"),  # revoked, regenerated, deleted
    Column("end_reason", Text),
    Column("predecessor_id", String(40)),
    Column("successor_id", String(40)),
    Column("overlap", BigInteger),  # of the rotation that made this key: how long the old one lives on
    Column("quarantine", Text),  # JSON, or NULL
    _moment("last_used_at"),
    Column("last_used", Text),  # JSON: address, user_agent, operation, project
    Index("ix_keys_workspace", "workspace_id", "created_at"),
    Index("ix_keys_listed", "workspace_id", "created_at", sqlite_where=_LEFT, postgresql_where=_LEFT),
)

# How much of its hourly quota a key has used: one row a key.
windows = Table(
    "windows",
    metadata,
    Column("key_id", String(40), primary_key=True),
    _moment("start", False),
    Column("n", Integer, nullable=False),
)

# What keys were used for, by minute. From it come the usage screen, the timeline, and who is known.
uses = Table(
    "uses",
    metadata,
    Column("key_id", String(40), primary_key=True),
    Column("minute", BigInteger, primary_key=True),  # minutes since 1970
    Column("operation", String(32), primary_key=True),
    Column("project_id", String(40), primary_key=True),  # "" where the request concerns none
    Column("address", String(64), primary_key=True),
    Column("user_agent", String(200), primary_key=True),
    Column("n", Integer, nullable=False),
)

# Requests that were turned away, by minute; key_id is "" where no key was recognised.
refusals = Table(
    "refusals",
    metadata,
    Column("minute", BigInteger, primary_key=True),
    Column("address", String(64), primary_key=True),
    Column("key_id", String(40), primary_key=True),
    Column("reason", String(32), primary_key=True),
    Column("n", Integer, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    _moment("at", False),
    Column("workspace_id", String(40), nullable=False),
    Column("actor", Text, nullable=False),  # "user:usr_…", "key:key_…", "system"
    Column("address", String(64), nullable=False),
    Column("user_agent", String(200), nullable=False),
    Column("action", String(48), nullable=False, index=True),
    Column("target", String(80), nullable=False),
    Column("detail", Text, nullable=False),  # JSON, keys sorted
    Column("request_id", String(40), nullable=False),
    Column("proof", LargeBinary(32), nullable=False),  # Vault.audit of this row and the proof before
    Index("ix_audit_workspace", "workspace_id", "seq"),
    Index("ix_audit_target", "workspace_id", "target", "seq"),
)

# What the platform does by itself: when last, and what it has to remember, sealed, for whoever writes the database could make it up.
chores = Table(
    "chores",
    metadata,
    Column("name", String(40), primary_key=True),
    _moment("at", False),
    Column("note", Text, nullable=False),  # JSON
    Column("seal", LargeBinary(32), nullable=False),  # Vault.note of the name and the note
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("actor", String(80), primary_key=True),
    Column("route", String(160), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("request", LargeBinary(32), nullable=False),
    Column("status", Integer),  # NULL while it is under way
    Column("body", Text),  # JSON without a key in clear
    _moment("at", False),
)

leaks = Table(
    "leaks",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("key_id", String(40), nullable=False, index=True),
    Column("workspace_id", String(40), nullable=False),
    Column("source", String(64), nullable=False),
    Column("url", Text, nullable=False),
    Column("reporter", Text, nullable=False),
    Column("action", String(16), nullable=False),  # notify, quarantine, revoke, none
    _moment("at", False),
    UniqueConstraint("key_id", "source", "url"),
)

# Who may report leaks with a signature: ECDSA P-256 public keys.
signers = Table(
    "signers",
    metadata,
    Column("id", String(80), primary_key=True),
    Column("name", Text, nullable=False),
    Column("public_key", Text, nullable=False),  # PEM
    Column("current", Boolean, nullable=False, default=True),
    _moment("created_at", False),
)

attempts = Table(
    "attempts",
    metadata,
    Column("what", String(400), primary_key=True),  # "email:…" or "address:…"
    Column("start", BigInteger, nullable=False),
    Column("n", Integer, nullable=False),
)

policies = Table(
    "policies",
    metadata,
    Column("workspace_id", String(40), primary_key=True),
    Column("name", String(40), primary_key=True),  # "leak.prod"
    Column("value", String(40), nullable=False),
)
