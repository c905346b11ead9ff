"""A run's settings as TensorBoard's HParams plugin reads them."""

import json
import time

from tensorboard.compat.proto import summary_pb2
from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2

from runners.tracking.event_files import float_tensor
from runners.tracking.tracker import RunStart

SECTIONS = ("preprocess.", "tokenizer.", "train.")
"""The settings that say what was trained, and how; those of other steps don't change a curve."""
PLUGIN = "hparams"
START_TAG, END_TAG = f"_{PLUGIN}_/session_start_info", f"_{PLUGIN}_/session_end_info"
"""As the plugin's module `metadata` has them, which imports NumPy."""


def session_start(run: RunStart) -> summary_pb2.Summary:
    """The settings of a run that begins."""
    info = plugin_data_pb2.SessionStartInfo(group_name=run.id, start_time_secs=time.time())
    for name, value in run.settings.items():
        if not name.startswith(SECTIONS) or value is None:
            continue
        if isinstance(value, bool):
            info.hparams[name].bool_value = value
        elif isinstance(value, int | float):
            info.hparams[name].number_value = value
        else:
            info.hparams[name].string_value = value if isinstance(value, str) else json.dumps(value, default=str)
    if run.configuration:
        info.hparams["configuration"].string_value = run.configuration
    data = plugin_data_pb2.HParamsPluginData(session_start_info=info)
    return _summary(START_TAG, data)


def session_end(succeeded: bool) -> summary_pb2.Summary:
    """How it ended."""
    status = api_pb2.STATUS_SUCCESS if succeeded else api_pb2.STATUS_FAILURE
    info = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=time.time())
    return _summary(END_TAG, plugin_data_pb2.HParamsPluginData(session_end_info=info))


def _summary(tag: str, data: plugin_data_pb2.HParamsPluginData) -> summary_pb2.Summary:
    summary = summary_pb2.Summary()
    metadata = summary_pb2.SummaryMetadata()
    metadata.plugin_data.plugin_name, metadata.plugin_data.content = PLUGIN, data.SerializeToString()
    summary.value.add(tag=tag, metadata=metadata, tensor=float_tensor([], [0]))
    return summary
