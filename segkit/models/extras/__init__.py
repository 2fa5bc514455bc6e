"""Models of other libraries, each an extra that is imported when its model is built: `smp`, `timm`, `hf`."""
