"""From records to tables, statistics, charts and pages. Never loads a network."""
