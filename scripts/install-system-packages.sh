#!/bin/sh
# Installs the system packages that some tests use: a real MQTT broker (mosquitto), a terminal server (ser2net), a
# browser (chromium), a DICOM archive with its web service (orthanc, orthanc-dicomweb) and a checker of DICOM files
# (dicom3tools).
# Where it may not, those tests are skipped with the reason; nothing else depends on it.
set -u
packages=""
command -v mosquitto >/dev/null 2>&1 || [ -x /usr/sbin/mosquitto ] || packages="$packages mosquitto"
command -v ser2net >/dev/null 2>&1 || [ -x /usr/sbin/ser2net ] || packages="$packages ser2net"
command -v chromium >/dev/null 2>&1 || packages="$packages chromium"
command -v Orthanc >/dev/null 2>&1 || [ -x /usr/sbin/Orthanc ] || packages="$packages orthanc"
[ -e /usr/share/orthanc/plugins/libOrthancDicomWeb.so ] || packages="$packages orthanc-dicomweb"
command -v dciodvfy >/dev/null 2>&1 || packages="$packages dicom3tools"
[ -z "$packages" ] && exit 0
if ! command -v apt-get >/dev/null 2>&1; then
  echo "not installed:$packages (no apt-get here); the tests that need them will be skipped"
  exit 0
fi
if [ "$(id -u)" -eq 0 ]; then as_root=""
elif sudo -n true 2>/dev/null; then as_root="sudo -n"
else
  echo "not installed:$packages (not root); the tests that need them will be skipped. To have them: sudo apt-get install$packages"
  exit 0
fi
echo "installing$packages ..."
# No service is to start: tests run brokers of their own.
policy=/usr/sbin/policy-rc.d
made_policy=no
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null && $as_root chmod +x "$policy" && made_policy=yes
fi
$as_root apt-get update -qq >/dev/null 2>&1
# shellcheck disable=SC2086 # the list is to be split
DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends $packages >/dev/null 2>&1 ||
  echo "could not install:$packages; the tests that need them will be skipped"
[ "$made_policy" = yes ] && $as_root rm -f "$policy"
exit 0
