"""A new connector's project, as files: what `connectory new-plugin` writes. The templates are beside this, under `templates`."""

from connectory.scaffold.project import KINDS, CannotScaffold, NewPlugin, write

__all__ = ["KINDS", "CannotScaffold", "NewPlugin", "write"]
