"""Charts: numbers of tables to drawings, and drawings to SVG or PDF."""
