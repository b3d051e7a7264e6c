"""Whether a challenger becomes champion: the rule, its safeguards, and the record of each decision."""
