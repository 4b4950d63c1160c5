"""A ROS 2 node that publishes what the robot's face shows: NAMESPACE/facs (hri_msgs/FacialActionUnits) and
NAMESPACE/expression (hri_msgs/Expression). rclpy and hri_msgs come with ROS 2; nothing of them is needed otherwise."""

from __future__ import annotations

from typing import Any, ClassVar

from avatar.core.types import FaceState
from avatar.errors import DeviceError
from avatar.streams.sinks.parameters import hri
from avatar.streams.sinks.parameters.base import StateSink
from avatar.streams.sinks.parameters.shaping import Shape

_ADVICE = (
    "install ROS 2 and its package hri_msgs (sudo apt install ros-$ROS_DISTRO-hri-msgs), source its setup.bash, "
    "and start this program with that Python"
)
_QUEUE = 1
"""Messages that wait for a slow subscriber: only the newest face matters."""


class RosSink(StateSink):
    """Publishes every state."""

    name: ClassVar[str] = "ros"

    def __init__(
        self,
        shape: Shape = Shape(),  # noqa: B008 - immutable
        namespace: str = "/robot_face",
        frame_id: str = "face",
    ) -> None:
        super().__init__(shape)
        self._namespace, self._frame_id = "/" + namespace.strip("/"), frame_id
        self._node: Any = None
        self._context: Any = None

    async def start(self) -> None:
        try:
            import rclpy
            from hri_msgs.msg import Expression, FacialActionUnits
            from rclpy.context import Context
        except ImportError as error:
            raise DeviceError(f"ros: {error.name or error} cannot be loaded; {_ADVICE}") from error
        self._units, self._expression = FacialActionUnits, Expression
        self._context = Context()
        rclpy.init(context=self._context)
        self._node = rclpy.create_node("vultus", context=self._context)
        self._facs = self._node.create_publisher(FacialActionUnits, f"{self._namespace}/facs", _QUEUE)
        self._mood = self._node.create_publisher(Expression, f"{self._namespace}/expression", _QUEUE)

    def send(self, state: FaceState) -> None:
        if self._node is None:
            return
        stamp = self._node.get_clock().now().to_msg()  # ROS has a clock of its own
        for kind, data, publisher in (
            (self._units, hri.action_units(state, self._frame_id), self._facs),
            (self._expression, hri.expression(state, self._frame_id), self._mood),
        ):
            message = kind()
            message.header.stamp, message.header.frame_id = stamp, self._frame_id
            for key, value in data.items():
                if key != "header" and hasattr(message, key):  # FAU is in the first version only
                    setattr(message, key, value)
            publisher.publish(message)
        self.sent += 1

    async def close(self) -> None:
        node, context, self._node, self._context = self._node, self._context, None, None
        if node is not None:
            node.destroy_node()
        if context is not None:
            context.try_shutdown()
