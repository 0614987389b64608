"""`python -m act_ros.parameters`: prints the page of all parameters."""

from act_ros.parameters.document import page

if __name__ == '__main__':
    print(page(), end='')
