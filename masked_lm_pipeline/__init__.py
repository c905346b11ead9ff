"""The pipeline for programs and notebooks: configure it, run it, read what came out, load the model and ask it.

    from masked_lm_pipeline import Config, load_fill_mask, run

    done = run(Config.load("quickstart", ingest={"path": "notes.txt"}))
    print(done.evaluation.metrics["perplexity_after"])
    print(load_fill_mask(done)("The sky is <mask>."))

Importing it has no effect. The functions choose Keras 2 (tf-keras) for the process when they are called.
"""

from components.config.pipeline_config import Config
from components.modeling.fill_mask import FillMask
from foundation.errors import (
    ArtifactError,
    ConfigError,
    DataError,
    HubError,
    ModelError,
    PipelineError,
    ServingError,
)
from masked_lm_pipeline.finished_run import FinishedRun, load_run
from masked_lm_pipeline.models import LoadedModel, load_fill_mask, load_masked_lm
from masked_lm_pipeline.running import plan, run, run_step

__all__ = [
    "ArtifactError",
    "Config",
    "ConfigError",
    "DataError",
    "FillMask",
    "FinishedRun",
    "HubError",
    "LoadedModel",
    "ModelError",
    "PipelineError",
    "ServingError",
    "load_fill_mask",
    "load_masked_lm",
    "load_run",
    "plan",
    "run",
    "run_step",
]
