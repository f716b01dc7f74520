"""HpBandSter: BOHB and Hyperband."""
