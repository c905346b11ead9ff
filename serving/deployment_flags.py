"""The command line with which TensorFlow Serving runs in production, in one place.

`serving/deployment/` has it in the formats of Docker Compose and Kubernetes, and the validate step starts its server
with it; a test holds the files to it.
"""

from pathlib import Path

DEPLOYMENT = Path(__file__).with_name("deployment")
MODEL_CONFIG = "models.config"
MONITORING_CONFIG = "monitoring.config"
PORTS = ("--port=8500", "--rest_api_port=8501")
"""Those that TensorFlow Serving's image opens."""
CROSS_ORIGIN = "--rest_api_enable_cors_support=true"
"""Lets pages of another origin ask, on a machine of one's own."""

CONNECTION_AGE = "--grpc_channel_arguments=grpc.max_connection_age_ms=20000"
"""Has gRPC's clients connect anew in time, where there are replicas."""

MODEL_NAME = "fill_mask"
_BASE_PATH = f'base_path: "/models/{MODEL_NAME}"'


def flags(config_directory: str) -> list[str]:
    """What every deployment gives to TensorFlow Serving besides ports: the models and the metrics.

    There is none of batching: TensorFlow Serving's own leaves a request of no rows waiting.
    """
    return [
        f"--model_config_file={config_directory}/{MODEL_CONFIG}",
        f"--monitoring_config_file={config_directory}/{MONITORING_CONFIG}",
    ]


def write_config(directory: Path, base_path: Path) -> None:
    """Writes the deployment's configuration files for a model that lies elsewhere.

    Args:
        directory: Where to.
        base_path: The directory of the model's versions.
    """
    models = (DEPLOYMENT / MODEL_CONFIG).read_text("utf-8")
    here = str(base_path).replace("\\", "\\\\").replace('"', '\\"')
    (directory / MODEL_CONFIG).write_text(models.replace(_BASE_PATH, f'base_path: "{here}"'), "utf-8")
    (directory / MONITORING_CONFIG).write_bytes((DEPLOYMENT / MONITORING_CONFIG).read_bytes())
