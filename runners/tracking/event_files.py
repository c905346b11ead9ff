"""TensorBoard's event files, read while another thread writes them, and written. Needs no TensorFlow.

Writing needs no NumPy either, which TensorBoard's own writer imports: a cached run is over before that is loaded.

A file is a row of records: length (uint64), its checksum (uint32), the bytes of an `Event`, their checksum (uint32),
all little-endian; see TensorFlow's `record_writer.h`.
"""

import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, tensor_shape_pb2, types_pb2

HEADER, CHECKSUM_BYTES = struct.Struct("<QI"), 4
LONGEST_RECORD = 2**24
"""More than that is no record of ours: the file is damaged."""
_numbers = iter(range(2**62))


class EventReader:
    """Reads a file from where it stopped the last time.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read = 0

    def scalars(self) -> Iterator[tuple[int, str, float]]:
        """Step, tag and value of each scalar that is new. A record that is half written is left for the next time."""
        from tensorboard.util import tensor_util

        with self.path.open("rb") as file:
            file.seek(self._read)
            content = file.read()
        place = 0
        while len(content) - place >= HEADER.size:
            length, _ = HEADER.unpack_from(content, place)
            end = place + HEADER.size + length + CHECKSUM_BYTES
            if length > LONGEST_RECORD or end > len(content):
                break
            event = event_pb2.Event.FromString(content[place + HEADER.size : end - CHECKSUM_BYTES])
            place = end
            for value in event.summary.value:
                if value.HasField("tensor") and value.tensor.dtype and not value.tag.startswith("_"):
                    yield event.step, value.tag, float(tensor_util.make_ndarray(value.tensor).item())
        self._read += place


class EventWriter:
    """Writes a file.

    Args:
        directory: Gets the file; it is made where it is missing.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        # TensorBoard reads the files of a directory in the order of their names.
        name = f"events.out.tfevents.{int(time.time()):010d}.{next(_numbers):06d}"
        self._file = (directory / name).open("ab")
        self._add(event_pb2.Event(wall_time=time.time(), file_version="brain.Event:2"))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Adds scalars of a step."""
        metadata = summary_pb2.SummaryMetadata(data_class=summary_pb2.DATA_CLASS_SCALAR)
        metadata.plugin_data.plugin_name = "scalars"
        summary = summary_pb2.Summary()
        for tag, value in values.items():
            summary.value.add(tag=tag, tensor=float_tensor([value], []), metadata=metadata)
        self.summary(summary, step)

    def summary(self, summary: summary_pb2.Summary, step: int = 0) -> None:
        """Adds a summary."""
        self._add(event_pb2.Event(wall_time=time.time(), step=step, summary=summary))

    def __enter__(self) -> "EventWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _add(self, event: event_pb2.Event) -> None:
        content = event.SerializeToString()
        length = struct.pack("<Q", len(content))
        self._file.write(length + checksum(length) + content + checksum(content))
        self._file.flush()


def float_tensor(values: Sequence[float], shape: Sequence[int]) -> tensor_pb2.TensorProto:
    """Values of float32 as a tensor."""
    dimensions = [tensor_shape_pb2.TensorShapeProto.Dim(size=size) for size in shape]
    return tensor_pb2.TensorProto(
        dtype=types_pb2.DT_FLOAT, tensor_shape=tensor_shape_pb2.TensorShapeProto(dim=dimensions), float_val=values
    )


def checksum(content: bytes) -> bytes:
    """The masked CRC-32C of a record's part: RFC 3720's polynomial, then a rotation by 15 bits and an offset."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc = (crc >> 8) ^ CRC_TABLE[(crc ^ byte) & 0xFF]
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _crc_of_byte(byte: int) -> int:
    for _ in range(8):
        byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
    return byte


CRC_TABLE = [_crc_of_byte(byte) for byte in range(256)]
