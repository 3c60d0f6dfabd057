"""Plugins of a third party."""

contract = 2
