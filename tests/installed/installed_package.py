# SPDX-License-Identifier: MIT
"""Installs the project into a temporary prefix and uses it as another project would.

The examples of README.md are the C and the C++ program, so they cannot rot: they are built
against the installed package (the C one with pkg-config, the C++ one with find_package) and
run, with a producer and without a region. Environment: CLOCKPAGE_BUILD_DIR,
CLOCKPAGE_SOURCE_DIR, CC, CXX, CMAKE (tests/CMakeLists.txt sets them).
"""
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.environ.get("CLOCKPAGE_SOURCE_DIR", os.path.dirname(os.path.dirname(HERE)))
BUILD = os.environ.get("CLOCKPAGE_BUILD_DIR", os.path.join(SOURCE, "build", "release"))
CMAKE = os.environ.get("CMAKE", "cmake")
CC = os.environ.get("CC", "cc")


def run(*command, check=True, **options):
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, **options)
    if check and done.returncode != 0:
        raise AssertionError(f"{shlex.join(command)}: exit code {done.returncode}\n"
                             f"{done.stdout}{done.stderr}")
    return done


def readme_example(language):
    """The one code block of README.md in this language that is a whole program."""
    with open(os.path.join(SOURCE, "README.md"), encoding="utf-8") as file:
        blocks = re.findall(rf"^```{language}\n(.*?)^```$", file.read(), re.M | re.S)
    programs = [block for block in blocks if "int main(" in block]
    if len(programs) != 1:
        raise AssertionError(f"README.md has {len(programs)} programs in {language}, not 1")
    return programs[0]


class InstalledPackageTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.work = tempfile.mkdtemp(prefix="clockpage-installed.")
        cls.addClassCleanup(shutil.rmtree, cls.work)
        installed = os.path.join(cls.work, "installed")
        run(CMAKE, "--install", BUILD, "--prefix", installed)
        # Moved afterwards: nothing in it may name the place it was installed to.
        cls.prefix = os.path.join(cls.work, "moved")
        os.rename(installed, cls.prefix)
        cls.examples = os.path.join(cls.work, "examples")
        os.mkdir(cls.examples)
        for language, name in (("c", "example.c"), ("cpp", "example.cpp")):
            with open(os.path.join(cls.examples, name), "w", encoding="utf-8") as file:
                file.write(readme_example(language))
        cls.programs = {}
        cls.libdir = cls.pkg_config("--variable=libdir").strip()
        cls.empty = os.path.join(cls.work, "empty")
        os.mkdir(cls.empty)

    @classmethod
    def pkg_config(cls, *options):
        for root, _, files in os.walk(cls.prefix):
            if "clockpage.pc" in files:
                return run("pkg-config", *options, "clockpage",
                           env={**os.environ, "PKG_CONFIG_PATH": root}).stdout
        raise AssertionError("no clockpage.pc was installed")

    def c_program(self):
        if "c" not in self.programs:
            out = os.path.join(self.work, "readme_c")
            run(CC, "-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-pedantic", "-Werror",
                "-O2", os.path.join(self.examples, "example.c"), "-o", out,
                *shlex.split(self.pkg_config("--cflags", "--libs")))
            self.programs["c"] = out
        return self.programs["c"]

    def cmake_program(self, name):
        build = os.path.join(self.work, "build")
        if not os.path.exists(os.path.join(build, name)):
            # Ninja: CMake's own choice would be make, which a fresh machine does not have.
            run(CMAKE, "-G", "Ninja", "-S", HERE, "-B", build, f"-DCMAKE_PREFIX_PATH={self.prefix}",
                f"-DREADME_EXAMPLES={self.examples}")
            run(CMAKE, "--build", build)
        return os.path.join(build, name)

    def environment(self, directory):
        return {**os.environ, "LD_LIBRARY_PATH": self.libdir, "CLOCKPAGE_DIR": directory}

    def assert_reports_the_missing_region(self, done):
        self.assertEqual(done.returncode, 1, done)
        self.assertEqual(done.stdout, "")
        self.assertRegex(done.stderr, r"\A[^\n]*" + re.escape(self.empty) + r"[^\n]*\n\Z")

    def producer(self):
        """A directory with an installed producer on it that ends with the test."""
        program = os.path.join(self.prefix, "bin", "clockpaged")
        directory = tempfile.mkdtemp(dir=self.work)
        producer = subprocess.Popen([program, "--dir", directory], stdout=subprocess.DEVNULL,
                                    stderr=subprocess.PIPE, text=True)

        def end():
            if producer.poll() is None:
                producer.terminate()
            producer.communicate(timeout=20)

        self.addCleanup(end)
        tool = os.path.join(self.prefix, "bin", "clockpage")
        for _ in range(100):
            if run(tool, "read", "--dir", directory, check=False).returncode == 0:
                return directory
            if producer.poll() is not None:
                raise AssertionError(f"clockpaged ended: {producer.stderr.read()}")
            time.sleep(0.1)
        raise AssertionError("clockpaged published nothing in 10 s")

    def test_programs_and_public_headers_are_installed(self):
        for program in ("clockpage", "clockpaged", "clockpage-timens"):
            done = run(os.path.join(self.prefix, "bin", program), "--version")
            self.assertRegex(done.stdout, r"\d+\.\d+\.\d+")
        installed = set(os.listdir(os.path.join(self.prefix, "include", "clockpage")))
        expected = set()
        for part in ("abi", "consumer"):
            expected |= set(os.listdir(os.path.join(SOURCE, part, "include", "clockpage")))
        self.assertEqual(installed, expected)

    def test_every_installed_header_compiles_alone(self):
        include = os.path.join(self.prefix, "include")
        for header in sorted(os.listdir(os.path.join(include, "clockpage"))):
            with open(os.path.join(include, "clockpage", header), encoding="utf-8") as file:
                if re.search(r'^#error "include <clockpage/', file.read(), re.M):
                    continue  # the inside of another header
            languages = [[os.environ.get("CXX", "c++"), "-std=c++20", "-x", "c++"]]
            if header.endswith(".h"):
                languages.append([CC, "-std=c11", "-x", "c"])
            for compiler in languages:
                with self.subTest(header=header, compiler=compiler):
                    run(*compiler, "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-I", include, "-",
                        input=f"#include <clockpage/{header}>\n")

    def test_pkg_config_names_only_what_was_installed(self):
        flags = shlex.split(self.pkg_config("--cflags", "--libs"))
        self.assertIn("-lclockpage", flags)
        for flag in flags:
            if flag[:2] in ("-I", "-L"):
                self.assertTrue(os.path.realpath(flag[2:]).startswith(os.path.realpath(self.prefix)),
                                flag)

    def test_the_c_example_reports_a_missing_region(self):
        self.assert_reports_the_missing_region(
            run(self.c_program(), check=False, env=self.environment(self.empty)))

    def test_the_cpp_example_reports_a_missing_region(self):
        self.assert_reports_the_missing_region(
            run(self.cmake_program("readme_cpp"), check=False, env=self.environment(self.empty)))

    def test_the_header_only_program_reports_a_missing_region(self):
        self.assert_reports_the_missing_region(
            run(self.cmake_program("header_only"), os.path.join(self.empty, "region"), check=False))

    def test_the_header_only_program_needs_no_library(self):
        self.assertNotIn("libclockpage", run("ldd", self.cmake_program("header_only")).stdout)

    def test_the_examples_read_the_time_of_an_installed_producer(self):
        directory = self.producer()
        for program in (self.c_program(), self.cmake_program("readme_cpp")):
            with self.subTest(program=os.path.basename(program)):
                done = run(program, env=self.environment(directory))
                self.assertEqual(done.stderr, "")
                # The first number is REALTIME in ns.
                self.assert_is_now(int(re.search(r"-?\d+", done.stdout).group()))
        done = run(self.cmake_program("header_only"), os.path.join(directory, "region"))
        self.assert_is_now(int(done.stdout))

    def assert_is_now(self, ns):
        # Not how good the clock is (compare is for that): that it is this clock at all.
        self.assertLess(abs(time.time_ns() - ns), 5_000_000_000)


if __name__ == "__main__":
    unittest.main()
