"""The one thing that pyproject.toml cannot say yet: a C extension that may fail to build."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        # Without a compiler, or Python's headers, wsgate is the same in pure Python.
        Extension("wsgate._speedups", sources=["src/wsgate/_speedups.c"], optional=True)
    ]
)
