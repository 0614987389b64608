"""The standalone server under a crowd that dies, and under ten minutes of everything.

    python -m test.endurance

A server with the demonstration's policy, in a process of its own as its users start it. First the
crowd: processes that each ask for the actions of an episode, every second one by the documented
protocol, the others by a session; a third of them are killed in the middle. Whoever survives must
have got what the policy gives to it alone. Then the soak: clients that come, ask and go, both
kinds, pictures and chunks, INFO and health, messages and connections of an attacker. Now and then
all of them rest, until the server has nothing left to do and no session; its memory is read then.
The C library is told to give back at once what is freed: what it keeps otherwise goes up and down
by some 50 MB with the largest messages, and hides what grows.

  crowd_clients       of them a third is killed, `crowd_survivors` are left
  crowd_right         of these, how many got every action as it is alone, to 1e-5
  crowd_per_s         requests answered a second
  soak_s              how long it was asked, without the rests
  soak_requests       answered in that time; soak_errors of them with ERROR
  soak_connections    that came, and were closed again
  soak_sessions_left  at the end
  rss_mb              memory of the server at the first rest, after the warm-up
  rss_growth_mb       from there to the last one
  rss_spread_mb       between the least and the most of all rests
"""
