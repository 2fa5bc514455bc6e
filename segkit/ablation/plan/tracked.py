"""What the runs of an ablation are called by `log.wandb` and `log.mlflow`, so that they are found together."""

from segkit.config.schema import Log


def name_for_trackers(log: Log, *, ablation: str, variant: str, seed: int) -> Log:
    """The block `log` of a run, with what its trackers are told of the ablation. What the file says stays."""
    name, changes = f"{variant}-seed{seed}", {}
    if log.wandb is not None:
        changes["wandb"] = log.wandb.model_copy(
            update={
                "name": log.wandb.name or name,
                "group": log.wandb.group or ablation,
                "job_type": log.wandb.job_type or variant,
                "tags": [*log.wandb.tags, variant, f"seed{seed}"],
            }
        )
    if log.mlflow is not None:
        tags = {"ablation": ablation, "variant": variant, "seed": str(seed)}
        changes["mlflow"] = log.mlflow.model_copy(
            update={"run_name": log.mlflow.run_name or name, "tags": {**tags, **log.mlflow.tags}}
        )
    return log.model_copy(update=changes)
