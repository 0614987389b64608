"""What the ROS graph says of topics that do not bring what they should."""

from collections.abc import Collection, Mapping

from rclpy.node import Node
from rclpy.qos import QoSCompatibility, qos_check_compatible
from rclpy.topic_endpoint_info import TopicEndpointInfo

from act_ros.topics import Publisher, explain


class GraphWatch:
    """Looks for the publishers of some topics; no work for the control tick.

    :param node: whose subscriptions they are.
    :param topics: what is read, to its full topic and type, as in 'sensor_msgs/msg/Image'.
    """

    def __init__(self, node: Node, topics: Mapping[str, tuple[str, str]]) -> None:
        self._node, self._topics = node, topics

    def causes(self, names: Collection[str], heard: Collection[str]) -> dict[str, str]:
        """What there is to say of the topics of what does not come.

        :param names: of that.
        :param heard: of what has ever come.
        """
        if not names:
            return {}
        publishers = {name: self._publishers(self._topics[name][0]) for name in names}
        others = {} if all(publishers.values()) else self._others()
        causes = {
            name: explain(*self._topics[name], found, others, heard=name in heard)
            for name, found in publishers.items()
        }
        if not others and not any(publishers.values()) and self._alone():
            domain = self._node.context.get_domain_id()
            last = list(causes)[-1]
            causes[last] += f'; no other node is to be seen in ROS_DOMAIN_ID {domain}'
        return causes

    def _publishers(self, topic: str) -> list[Publisher]:
        ours = [
            info.qos_profile
            for info in self._node.get_subscriptions_info_by_topic(topic)
            if self._is_us(info)
        ]
        found = []
        for info in self._node.get_publishers_info_by_topic(topic):
            mismatch = ''
            for qos in ours:
                level, reason = qos_check_compatible(info.qos_profile, qos)
                if level == QoSCompatibility.ERROR:
                    mismatch = reason.removeprefix('ERROR: ').rstrip('; ')
            node = f'{info.node_namespace.rstrip("/")}/{info.node_name}'
            found.append(Publisher(node, info.topic_type, mismatch))
        return found

    def _others(self) -> dict[str, list[str]]:
        """What somebody else publishes and may be meant, to its types."""
        # Joints may share a topic; a camera's is its own.
        taken = {topic for topic, type_ in self._topics.values() if type_.endswith('Image')}
        return {
            topic: types
            for topic, types in self._node.get_topic_names_and_types()
            if topic not in taken
            and not all(map(self._is_us, self._node.get_publishers_info_by_topic(topic)))
        }

    def _alone(self) -> bool:
        here = self._node.get_name(), self._node.get_namespace()
        return all(found == here for found in self._node.get_node_names_and_namespaces())

    def _is_us(self, info: TopicEndpointInfo) -> bool:
        return (info.node_name, info.node_namespace) == (
            self._node.get_name(),
            self._node.get_namespace(),
        )
