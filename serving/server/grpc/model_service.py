"""TensorFlow Serving's gRPC ModelService: the states of a model's versions, and a change of what is served."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from functools import partial

from tensorflow_serving.apis import get_model_status_pb2, model_management_pb2

from foundation.errors import ConfigError
from serving.server.grpc.server import Methods
from serving.server.models import model_config
from serving.server.models.served_models import ServedModels
from serving.server.status import Code, StatusError, invalid


class ModelService:
    """The service's methods, from request message to response message.

    Args:
        models: The models that are served, by name.
        allow_reload_config: Whether a client may have other models served.
    """

    name = "tensorflow.serving.ModelService"

    def __init__(self, models: ServedModels, *, allow_reload_config: bool = False) -> None:
        self.models = models
        self.allow_reload_config = allow_reload_config

    def methods(self) -> Methods:
        """Request classes and methods, by the methods' names."""
        return {
            "GetModelStatus": (get_model_status_pb2.GetModelStatusRequest, self.get_model_status),
            "HandleReloadConfigRequest": (model_management_pb2.ReloadConfigRequest, self.reload_config),
        }

    async def get_model_status(
        self, request: get_model_status_pb2.GetModelStatusRequest
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """Reports the states of a model's versions.

        Raises:
            StatusError: NOT_FOUND for an unknown model or version.
        """
        spec = request.model_spec
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        statuses = self.models.statuses(spec.name)
        if not statuses:
            raise StatusError(Code.NOT_FOUND, f"Could not find any versions of model {spec.name}")
        if spec.HasField("version"):
            statuses = [status for status in statuses if status.version == spec.version.value]
            if not statuses:
                raise StatusError(Code.NOT_FOUND, f"Could not find version {spec.version.value} of model {spec.name}")
        response = get_model_status_pb2.GetModelStatusResponse()
        for status in sorted(statuses, key=lambda status: -status.version):
            listed = response.model_version_status.add(version=status.version)
            listed.state = get_model_status_pb2.ModelVersionStatus.State.Value(status.state)
            listed.status.error_code = int(status.code)
            listed.status.error_message = status.message
        return response

    async def reload_config(
        self, request: model_management_pb2.ReloadConfigRequest
    ) -> model_management_pb2.ReloadConfigResponse:
        """Serves the models of another configuration and no others; answers when the new ones serve.

        Raises:
            StatusError: PERMISSION_DENIED unless `allow_reload_config`, because whoever reaches the port could have any
                directory read; INVALID_ARGUMENT for an invalid configuration; or as `ServedModels.change` says.
        """
        if not self.allow_reload_config:
            raise StatusError(
                Code.PERMISSION_DENIED,
                "HandleReloadConfigRequest is answered only by a server that was started with --allow-reload-config",
            )
        if request.config.WhichOneof("config") != "model_config_list":
            raise invalid(
                "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is "
                "currently supported"
            )
        try:
            configs = model_config.to_configs(request.config, "ReloadConfigRequest")
        except ConfigError as error:
            raise invalid(str(error)) from error
        await in_a_thread_of_its_own(partial(self.models.change, configs))
        response = model_management_pb2.ReloadConfigResponse()
        response.status.SetInParent()  # present and empty: OK
        return response


async def in_a_thread_of_its_own(work: Callable[[], None]) -> None:
    """Waits for work that nobody waits for when the server stops, as for that of the requests' threads."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def finish(error: BaseException | None) -> None:
        if not done.done():
            done.set_result(error)

    def run() -> None:
        error: BaseException | None = None
        try:
            work()
        except BaseException as raised:
            error = raised
        with contextlib.suppress(RuntimeError):  # the server has stopped
            loop.call_soon_threadsafe(finish, error)

    threading.Thread(target=run, name="loading: configuration", daemon=True).start()
    if (error := await done) is not None:
        raise error
