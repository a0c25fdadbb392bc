"""One small module a framework: how a refusal is said in the framework's own words."""
