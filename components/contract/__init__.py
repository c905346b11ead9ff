"""What the steps share: a component, the artifacts between components, and their manifests."""
