from test.bridge import vectors

vectors.write()
