"""Streamlit draws every expression that stands alone in a page's file, a docstring below a name among them."""

import ast

import pytest

from deeplense_core.workspace import ROOT


@pytest.mark.parametrize("path", sorted((ROOT / "pages").glob("*.py")), ids=lambda path: path.stem)
def test_no_expression_stands_alone(path):
    _, *body = ast.parse(path.read_text()).body
    alone = [node.value for node in body if isinstance(node, ast.Expr) and not isinstance(node.value, ast.Call)]
    assert not alone, ast.unparse(alone[0])
