"""The audit trail is read by pages, and what the platform does by itself is written down"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "chores",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("seal", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_chores")),
    )
    op.drop_index("ix_audit_workspace_id", table_name="audit")
    op.drop_index("ix_audit_target", table_name="audit")
    op.create_index("ix_audit_workspace", "audit", ["workspace_id", "seq"], unique=False)
    op.create_index("ix_audit_target", "audit", ["workspace_id", "target", "seq"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_audit_target", table_name="audit")
    op.drop_index("ix_audit_workspace", table_name="audit")
    op.create_index("ix_audit_target", "audit", ["target"], unique=False)
    op.create_index("ix_audit_workspace_id", "audit", ["workspace_id"], unique=False)
    op.drop_table("chores")
