"""How processes of clients are made: forked from one that has imported all they need."""

import multiprocessing

CONTEXT = multiprocessing.get_context('forkserver')
CONTEXT.set_forkserver_preload(['test.endurance.clients'])
