"""Pictures of the documentation; ``make pictures`` creates them."""
