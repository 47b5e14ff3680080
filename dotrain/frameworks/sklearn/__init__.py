"""scikit-learn: threads of a slot; estimators fitted step by step, folds of a cross-validation."""
