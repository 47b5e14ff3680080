"""Callbacks of XGBoost, LightGBM and CatBoost that report to the search and keep checkpoints."""
