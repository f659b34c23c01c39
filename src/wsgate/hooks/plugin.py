"""Hooks as Twisted plugins: a package that brings some makes them known by name."""

from __future__ import annotations

from typing import Any

from zope.interface import Attribute, Interface


class IHookMaker(Interface):
    """Makes hooks for `use = "NAME"`.

    An object that provides this and `twisted.plugin.IPlugin` stands in a module of the package
    `twisted.plugins`.
    """

    name = Attribute("What stands in `use`: a str.")

    def make(services: Any, **options: Any) -> Any:
        """Return an object with the methods of `wsgate.hooks.Hook`."""
