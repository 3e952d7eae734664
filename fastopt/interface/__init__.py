"""What users call: `minimize`, `Solver`, and the table of methods behind them."""
