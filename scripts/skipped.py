#!/usr/bin/env python3
"""Say which tests did not run and why. Usage: skipped.py junit.xml"""
import sys
import xml.etree.ElementTree as xml


def reason(case):
    output = (case.findtext("system-out") or "").strip().splitlines()
    return output[-1] if output else "no reason given"


for test in xml.parse(sys.argv[1]).getroot().iter("testcase"):
    if test.find("skipped") is not None:
        print(f"skipped: {test.get('name')}: {reason(test)}")
