from Cython.Build import cythonize
from setuptools import Extension, setup

setup(ext_modules=cythonize([Extension("springs", ["springs.pyx"])]), py_modules=[])
