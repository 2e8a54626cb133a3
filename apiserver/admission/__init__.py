"""Admission: what is added to an object, or refused, in view of the rest of the cluster. One plug-in a module.

Those of one kind stand in that kind's module; `PLUGINS` look at every write.
"""

from apiserver.admission.namespace_lifecycle import NamespaceLifecycle
from apiserver.admission.node_restriction import NodeRestriction
from apiserver.registry.plugin import Plugin

PLUGINS: tuple[Plugin, ...] = (NamespaceLifecycle(), NodeRestriction())
