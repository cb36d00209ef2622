"""Alembic's entry: runs the steps on the connection that it is given."""

from alembic import context

from fluxguard.server.tables import metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=False
)
context.run_migrations()
