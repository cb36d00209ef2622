"""A connected device has a name of its own, which its tokens keep while they are renewed"""

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tokens", sa.Column("device_id", sa.String(length=40), nullable=True))
    op.add_column("tokens", sa.Column("connected_at", sa.BigInteger(), nullable=True))
    op.add_column("tokens", sa.Column("address", sa.String(length=64), nullable=True))
    op.create_index("ix_tokens_device_id", "tokens", ["device_id"], unique=False)
    tokens = sa.table(
        "tokens",
        sa.column("access"),
        sa.column("device_id"),
        sa.column("connected_at"),
        sa.column("created_at"),
    )
    connection = op.get_bind()
    for access in connection.execute(sa.select(tokens.c.access)).scalars().all():
        mine = tokens.update().where(tokens.c.access == access)
        connection.execute(
            mine.values(device_id=f"dev_{secrets.token_hex(10)}", connected_at=tokens.c.created_at)
        )


def downgrade() -> None:
    op.drop_index("ix_tokens_device_id", table_name="tokens")
    for name in ("address", "connected_at", "device_id"):
        op.drop_column("tokens", name)
