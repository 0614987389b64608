"""What is broken in a bag, for people."""

from act_ros.errors import one_line


class Damage(list[str]):
    """One line for each thing that is broken; grows while messages are read."""

    def note(self, text: str) -> None:
        """Add a line, unless it has been said."""
        if text not in self:
            self.append(text)


def reason(error: Exception) -> str:
    """An error of a library in one line that is not too long."""
    return one_line(error)[:200]
