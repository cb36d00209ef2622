"""A list of keys passes by those that were deleted, however many there are"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    left = sa.text("state <> 'deleted'")
    op.create_index(
        "ix_keys_listed", "keys", ["workspace_id", "created_at"], sqlite_where=left, postgresql_where=left
    )


def downgrade() -> None:
    op.drop_index("ix_keys_listed", table_name="keys")
